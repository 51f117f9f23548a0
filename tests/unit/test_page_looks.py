"""How pages look and read: what an operator's file may say, and what keeps a server from starting."""

import tomllib
from importlib import resources
from pathlib import Path

import pytest

from heed.errors import InvalidArgumentError
from heed.model import Channel, Instant, Scope, Topic, TopicClass
from heed.topics import TopicTable
from heed_server.web.public.colours import DARK, LIGHT, contrast
from heed_server.web.public.languages import built_in, preferred, texts_of
from heed_server.web.public.looks import LOGO_BYTES_MAX, Look, looks_of
from heed_server.web.public.words import Words

PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
NEWS = Scope(channel=Channel.EMAIL, topic="news")
TEXTS = resources.files("heed_server.web.public").joinpath("texts")


def look_said(folder: Path, said: str) -> Look:
    """How the pages of the tenant shop look."""
    file = folder / "pages.toml"
    file.write_text(said, encoding="utf-8")
    return looks_of(file).of("shop")


def refused(folder: Path, said: str) -> str:
    """Why a file is refused."""
    with pytest.raises(InvalidArgumentError) as error:
        look_said(folder, said)
    return error.value.message


def test_a_tenant_of_which_nothing_is_said_has_pages_in_both_languages() -> None:
    look = looks_of().of("shop")

    assert look.tags == ("en", "de")
    assert look.other_topics
    assert (look.name, look.logo, look.home, look.topics) == ("", "", "", ())


def test_both_languages_have_the_same_texts_with_the_same_fields() -> None:
    english, german = built_in("en"), built_in("de")
    read = texts_of("de", tomllib.loads(TEXTS.joinpath("de.toml").read_text("utf-8")), "de.toml")

    assert english.words.keys() == german.words.keys()
    assert len(english.months) == len(german.months) == 12
    assert read.words == german.words


def test_a_file_says_all_of_a_tenant(tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(PNG)

    look = look_said(
        tmp_path,
        """
        [tenants.shop]
        name = "Example Shop"
        logo_file = "logo.png"
        home = "https://shop.example/account"
        languages = ["de", "en"]
        channels = ["email", "sms"]
        other_topics = false
        light = { background = "#FFFFFF", text = "#000000", accent = "#7a0010", accent_text = "#ffffff" }

        [tenants.shop.texts.de.choices]
        title = "Was wir senden dürfen"

        [[tenants.shop.topics]]
        topic = "news"
        title = { de = "Wochenbrief" }
        """,
    )

    german, english = (Words(look, look.languages[tag]) for tag in look.tags)
    assert look.tags == ("de", "en")
    assert look.logo.startswith("data:image/png;base64,")
    assert look.channels == (Channel.EMAIL, Channel.SMS)
    assert "--accent:#7a0010;" in look.style
    assert look.languages["de"]("choices.title") == "Was wir senden dürfen"
    assert look.languages["en"]("choices.title") == "Your choices"
    assert german.what(NEWS) == "„Wochenbrief“ per E-Mail"
    assert english.what(NEWS) == "“news” by email"
    assert looks_of(tmp_path / "pages.toml").of("other").name == ""


def test_another_language_comes_with_a_file_of_all_its_texts(tmp_path: Path) -> None:
    text = TEXTS.joinpath("en.toml").read_text("utf-8")
    (tmp_path / "fr.toml").write_text(
        text.replace('title = "Your choices"', 'title = "Vos choix"'), encoding="utf-8"
    )

    look = look_said(tmp_path, '[languages]\nfr = "fr.toml"\n[tenants.shop]\nlanguages = ["fr"]')

    assert look.tags == ("fr",)
    assert look.languages["fr"]("choices.title") == "Vos choix"


def test_a_language_that_lacks_texts_is_refused_and_they_are_named(tmp_path: Path) -> None:
    text = TEXTS.joinpath("en.toml").read_text("utf-8")
    short = "\n".join(line for line in text.split("\n") if "download" not in line)
    (tmp_path / "fr.toml").write_text(
        short.replace("{moment}", "{instant}") + '\n[extra]\nword = "x"\n', encoding="utf-8"
    )

    said = refused(tmp_path, '[languages]\nfr = "fr.toml"')

    assert "receipt.download: is missing" in said
    assert "done.since_now: has instant in braces" in said
    assert "extra.word: there is no such text" in said


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("[tenants.shop]\ncolour = 'red'", "tenants.shop.colour"),
        ("[tenants.shop]\nlanguages = ['fr']", "fr: no texts are known"),
        ("[tenants.shop]\nhome = 'javascript:alert(1)'", "is no https address"),
        ("[tenants.shop]\nchannels = ['smoke']", "channels"),
        ("[tenants.shop]\ntopics = [{topic = 'No Topic'}]", "tenants.shop.topics.0.topic"),
        ("[tenants.shop]\ntopics = [{topic = ''}]", "tenants.shop.topics.0.topic"),
        ("[tenants.shop]\nname = '" + "x" * 101 + "'", "tenants.shop.name"),
        ("[tenants.shop.texts.en.choices]\nheading = 'x'", "choices.heading: there is no such"),
        ("[tenants.shop.texts.en.choices]\ntitle = '{who}'", "title: has who in braces"),
        (
            "[tenants.shop.texts.en.consent]\nstatement = '" + "x" * 101 + "'",
            "consent.statement: is longer than 100 characters",
        ),
        ("[tenants.shop]\ntime_zones = ['Europe/Atlantis']", "is no time zone"),
        ("[languages]\nfr = 'nowhere.toml'", "cannot be read"),
        ("[tenants.shop]\nlogo_file = 'nowhere.png'", "logo_file"),
        ("not toml", "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_and_named(tmp_path: Path, said: str, why: str) -> None:
    assert why in refused(tmp_path, said)


@pytest.mark.parametrize(
    ("content", "why"), [(SVG, "an SVG may hold scripts"), (PNG + bytes(LOGO_BYTES_MAX), "larger")]
)
def test_a_logo_is_small_and_no_script(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "logo.png").write_bytes(content)

    assert why in refused(tmp_path, "[tenants.shop]\nlogo_file = 'logo.png'")


def test_colours_that_cannot_be_read_are_refused_and_named(tmp_path: Path) -> None:
    colours = "background = '#ffffff', text = '#767676', accent = '#1a4fa0', accent_text = '{}'"

    grey = look_said(tmp_path, f"[tenants.shop]\nlight = {{ {colours.format('#ffffff')} }}")
    said = refused(tmp_path, f"[tenants.shop]\nlight = {{ {colours.format('#777777')} }}")
    no_colour = refused(tmp_path, f"[tenants.shop]\ndark = {{ {colours.format('white')} }}")

    assert "--text:#767676;" in grey.style
    assert "tenants.shop.light: accent_text on accent: the contrast is 1." in said
    assert "is no colour" in no_colour


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#ffffff", "#ffffff") == pytest.approx(1)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
    for colours in (LIGHT, DARK):
        assert contrast(colours.text, colours.background) >= 7


@pytest.mark.parametrize(
    ("accepted", "tag"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT, en;q=0.5", "de"),
        ("en;q=0.2, de;q=0.9", "de"),
        ("fr, tlh;q=0.9", "en"),
        ("fr, de;q=0.1", "de"),
        ("de;q=0, en;q=0.1", "en"),
        ("PT-br", "pt-BR"),
        ("pt", "pt-BR"),
        ("de;q=abc, ,;q=1, *", "en"),
        ("x" * 5_000, "en"),
    ],
)
def test_the_language_is_the_first_of_a_browsers_that_there_is(accepted: str, tag: str) -> None:
    assert preferred(accepted, ("en", "de", "pt-BR")) == tag


def test_a_topic_is_called_by_the_page_else_as_declared_else_by_its_name() -> None:
    topics = TopicTable([Topic(name="news", title="Letter"), Topic(name="bare")])
    words = Words(looks_of().otherwise, built_in("en"), topics)

    said = [words.topic(name) for name in ("news", "bare", "unknown.one")]

    assert said == ["Letter", "bare", "unknown.one"]


def test_times_and_lists_are_said_in_the_language() -> None:
    look = looks_of().otherwise
    english, german = Words(look, built_in("en")), Words(look, built_in("de"))
    at = Instant(1_795_788_180_000_000)

    assert english.moment(at) == "27 November 2026, 14:03 UTC"
    assert german.moment(at) == "27. November 2026, 14:03 Uhr UTC"
    assert german.texts.joined(["a", "b", "c"]) == "a, b und c"
    assert english.still_sent([TopicClass.MANDATORY], ["security"]) == [
        "Messages that must reach you, such as a new password",
        "Always: security",
    ]
    assert english.still_sent([], []) == ["Nothing of it"]
