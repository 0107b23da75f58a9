"""Claims about ids that look like paths, options, numbers or markup: every call answers about exactly that image."""

import unicodedata
from pathlib import Path
from urllib.parse import quote

from neardup_platform import Client
from tests.serving.conftest import knowing

ODD = (
    # Two names that look alike, a family of three, a name that reverses the text around it.
    *(unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")),
    "\U0001f468\u200d\U0001f469\u200d\U0001f467.png",
    "\u202eabc\u202c.png",
    "é" * 256,
    *("../x", "a/../b", "a//b", "/abs", "C:\\x", "a/members", "a/history", "members", "healthz"),
    *("%2F", "%00", "http://h/a?b=c#d", "?q=1", "#f", "a;b", "a+b", ":lookup", "{id}", "*"),
    *(" leading", "trailing ", "a\u00a0b", "\ufeffmark"),
    *("null", "NaN", "1e5", "00123", "=1+1", "--help", '"quoted", twice', "<script>", "$HOME", "`id`"),
)


def test_every_call_answers_about_exactly_the_odd_id_that_it_names(tmp_path: Path) -> None:
    with knowing(tmp_path, ODD) as http, Client(str(http.base_url)) as client:
        assert client.lookup_many(ODD) == {odd: odd for odd in ODD}
        for odd in ODD:
            in_path = quote(odd, safe="")
            assert http.get(f"/v1/images/{in_path}").json()["image_id"] == odd
            assert http.get(f"/v1/clusters/{in_path}").json()["head"] == odd
            assert client.lookup(odd).image_id == odd
            assert client.explain(odd).image_id == odd
            assert [entry.image_id for entry in client.history(odd)] == [odd]
            assert [member.image_id for member in client.members(odd)] == [odd]
