"""The text pattern: what is understood alike by Python, Java and Rust, and what is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.text_pattern import portable


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("[A-Z]{2}-\\d+", "[A-Z]{2}-[0-9]+"),
        ("a.b", "a[^\\n]b"),
        ("^a$", "\\Aa\\z"),
        ("(?:a|b)*?c{2,}", "(?:a|b)*?c{2,}"),
        ("[\\w.-]+@\\W", "[0-9A-Za-z_.-]+@[^0-9A-Za-z_]"),
        ("[^\\s]\\S", "[^ \\t\\n\\r\\f\\x0B][^ \\t\\n\\r\\f\\x0B]"),
        ("\\<a\\>]}", "<a>\\]\\}"),
        ("[\\]\\[\\\\]\\.", "[\\]\\[\\\\]\\."),
        ("é\\u00e9\\x41\\n", "é\\u00e9\\x41\\n"),
        ("\\é", "é"),
        ("", ""),
    ],
)
def test_pattern_is_written_so_that_it_means_one_thing(expression: str, written: str) -> None:
    r"""`\d` is ASCII in Java and all of Unicode in Rust; `$` and `.` differ, too."""
    assert portable(expression) == written


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("(?i)a", "(?i"),
        ("(?=a)", "(?="),
        ("(?P<n>a)", "(?P"),
        ("a++", "+"),
        ("a**", "*"),
        ("[a", "["),
        ("a{2}+", "+"),
        ("a{,3}", "{"),
        ("a{1001}", "{1001}"),
        ("{", "{"),
        ("\\bword", "\\b"),
        ("\\p{L}", "\\p"),
        ("(a)\\1", "\\1"),
        ("\\Aa", "\\A"),
        ("[]a]", "[]"),
        ("[[a]]", "["),
        ("[a&&b]", "&&"),
        ("[a--b]", "--"),
        ("[a~~b]", "~~"),
        ("[a||b]", "||"),
        ("[^\\D]", "\\D"),
        ("[\\b]", "\\b"),
        ("\\ud83d", "\\ud83d"),
    ],
)
def test_what_engines_disagree_on_is_named(expression: str, named: str) -> None:
    """A run that ends in a Java error days later helps nobody who wrote the document."""
    with pytest.raises(ValueError, match=r"which not every engine understands") as error:
        portable(expression)

    assert f"uses {named!r}," in str(error.value)


@pytest.mark.parametrize("expression", ["(", "*", "a\\", "[z-a]", "a)"])
def test_what_is_no_expression_says_why(expression: str) -> None:
    """Python's own message tells the place."""
    with pytest.raises(ValueError, match=r"is no regular expression: .+ at position"):
        portable(expression)


PIECES = st.sampled_from(
    ["a", "b", "1", "-", "\\d", "\\W", "\\s", ".", "[ab]", "[^\\d-]", "(a|b)", "(?:1)", "é", "\\."]
)
REPEATS = st.sampled_from(["", "", "*", "+?", "{2}", "{0,1}"])


@given(
    expression=st.lists(st.tuples(PIECES, REPEATS), max_size=5).map(
        lambda parts: "".join(map("".join, parts))
    ),
    text=st.text("ab1-é٧ \n.", max_size=6),
)
@settings(max_examples=300, deadline=None)
def test_written_pattern_means_what_the_person_wrote(expression: str, text: str) -> None:
    """Python with ASCII classes is what the documentation promises."""
    meant = re.fullmatch(expression, text, re.ASCII)
    written = re.fullmatch(portable(expression), text)

    assert bool(written) == bool(meant)
