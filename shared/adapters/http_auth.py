"""HTTP auth: credentials for a request, and nothing of them in any text for people."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from aiohttp import ClientError, ClientTimeout

from shared.domain import document
from shared.domain.auth import ApiKey, Basic, Bearer, ClientCredentials
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.fields import SETTING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import ClientSession

    from shared.domain.source import Source
    from shared.ports import Clock

#: A token is renewed so long before its end, for clocks that differ and answers that take time.
_SLACK = timedelta(seconds=30)
_LIFE_S = 300
_TIMEOUT_S = 30
_BUSY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(slots=True, kw_only=True)
class Credentials:
    """What goes with a request to the source's own host, and only there."""

    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)


class Redaction:
    """Knows the secrets of one source, and takes them out of texts."""

    def __init__(self, source: Source, settings: Mapping[str, str]) -> None:
        """Whatever a setting fills in is a secret, but for the one that the address begins with."""
        begins = SETTING.match(source.url)
        texts = [source.url[begins.end() :] if begins else source.url]
        texts += [*source.headers.values(), *source.query.values()]
        auth = source.auth.model_dump()
        texts += [each for each in auth.values() if isinstance(each, str)]
        texts += auth.get("parameters", {}).values()
        self._secrets: set[str] = set()
        for text in texts:
            for name in SETTING.findall(text):
                self.hide(settings.get(name, ""))

    def hide(self, secret: str) -> None:
        """A secret that came later, for example a token; it may be written in several ways."""
        if secret:
            encoded = base64.b64encode(secret.encode()).decode()
            self._secrets.update((secret, quote(secret, safe=""), quote_plus(secret), encoded))
            self._secrets.add(quote(secret))

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


class Authenticator:
    """Credentials of one source; a token is kept until it ends, or is refused."""

    def __init__(
        self, source: Source, settings: Mapping[str, str], session: ClientSession, clock: Clock
    ) -> None:
        """`settings` fill the `%SETTING%`s."""
        self._source = source
        self._settings = dict(settings)
        self._session = session
        self._clock = clock
        self._token = ""
        self._ends = clock.now()
        self.redact = Redaction(source, settings)

    @property
    def renews(self) -> bool:
        """Whether other credentials can be had when these are refused."""
        return isinstance(self._source.auth, ClientCredentials)

    def forget(self) -> None:
        """The token was refused."""
        self._token = ""

    async def credentials(self) -> Credentials:
        """What the next request needs; fetches a token if there is none that holds."""
        auth = self._source.auth
        if isinstance(auth, ApiKey):
            pair = {auth.name: self._fill(auth.value)}
            return Credentials(headers=pair) if auth.where == "header" else Credentials(query=pair)
        if isinstance(auth, Bearer):
            return Credentials(headers={"Authorization": f"Bearer {self._fill(auth.token)}"})
        if isinstance(auth, Basic):
            basic = self._basic(self._fill(auth.username), self._fill(auth.password))
            return Credentials(headers={"Authorization": basic})
        if isinstance(auth, ClientCredentials):
            if not self._token or self._clock.now() >= self._ends:
                await self._fetch_token(auth)
            return Credentials(headers={"Authorization": f"Bearer {self._token}"})
        return Credentials()

    async def _fetch_token(self, auth: ClientCredentials) -> None:
        client_id, secret = self._fill(auth.client_id), self._fill(auth.client_secret)
        form = {"grant_type": "client_credentials", "scope": auth.scope}
        form |= {name: self._fill(value) for name, value in auth.parameters.items()}
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if auth.credentials_in == "header":
            headers["Authorization"] = self._basic(quote_plus(client_id), quote_plus(secret))
        else:
            form |= {"client_id": client_id, "client_secret": secret}
        where = f"the token address of source {self._source.name}"
        try:
            async with self._session.post(
                self._fill(auth.token_url),
                data={name: value for name, value in form.items() if value},
                headers=headers,
                allow_redirects=False,  # Credentials go where the document says, nowhere else.
                timeout=ClientTimeout(total=_TIMEOUT_S),
            ) as response:
                status = response.status
                content = await response.json(content_type=None) if status == 200 else {}  # noqa: PLR2004 -- RFC 6749, section 5.1.
        except (ClientError, TimeoutError, ValueError) as error:
            reason = self.redact(str(error)) or type(error).__name__
            raise TryLater(f"{where} cannot be read: {reason}") from None
        if status in _BUSY:
            raise TryLater(f"{where} answered {status}")
        token = content.get("access_token") if isinstance(content, dict) else None
        if not isinstance(token, str) or not token:
            raise Misconfigured(
                f"source {self._source.name}",
                f"gets no token: its token address answered {status}; look at auth.clientId, "
                "auth.clientSecret and auth.scope",
            )
        self._token = token
        self.redact.hide(token)
        life = content.get("expires_in", _LIFE_S)
        seconds = float(life) if str(life).isdigit() else _LIFE_S
        self._ends = self._clock.now() + timedelta(seconds=seconds) - _SLACK

    def _basic(self, name: str, password: str) -> str:
        """The header of RFC 7617; its text is as secret as the password."""
        encoded = base64.b64encode(f"{name}:{password}".encode()).decode()
        self.redact.hide(encoded)
        return f"Basic {encoded}"

    def _fill(self, text: str) -> str:
        return document.fill(text, self._settings)
