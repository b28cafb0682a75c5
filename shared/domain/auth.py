"""The auth: how a request proves who is asking. Secrets are only ever named, as `%SETTING%`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shared.domain.fields import SETTING, Part, Url


def _named_secret(value: str) -> str:
    if not SETTING.search(value):
        raise ValueError(
            "a secret does not belong in this file: name a setting, for example '%API_KEY%', "
            "and let the setting refer to Key Vault"
        )
    return value


Secret = Annotated[
    str,
    AfterValidator(_named_secret),
    Field(description="Refers to the secret as `%SETTING%`; text may stand around it."),
]


class NoAuth(Part):
    """The tool asks for no credentials."""

    kind: Literal["none"] = "none"


class ApiKey(Part):
    """A key in a header or in the query."""

    kind: Literal["apiKey"] = "apiKey"
    where: Literal["header", "query"] = Field(default="header", alias="in")
    name: str = Field(default="X-Api-Key", description="The header's or the parameter's name.")
    value: Secret


class Bearer(Part):
    """A token that does not change, in the header `Authorization`."""

    kind: Literal["bearer"] = "bearer"
    token: Secret


class Basic(Part):
    """A name and a password (RFC 7617)."""

    kind: Literal["basic"] = "basic"
    username: str
    password: Secret


class ClientCredentials(Part):
    """OAuth 2.0 client credentials (RFC 6749, section 4.4): a token is fetched, kept, renewed."""

    kind: Literal["oauth2ClientCredentials"] = "oauth2ClientCredentials"
    token_url: Url
    client_id: str
    client_secret: Secret
    scope: str = ""
    parameters: dict[str, str] = Field(
        default_factory=dict, description="What else the token's address wants, e.g. `audience`."
    )
    credentials_in: Literal["body", "header"] = Field(
        default="body", description="Where the token's address wants the client's credentials."
    )


Auth = Annotated[
    NoAuth | ApiKey | Bearer | Basic | ClientCredentials,
    Field(discriminator="kind", description="How a request proves who is asking."),
]
