import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.core.template import TemplateError, parse, weaknesses

EOL = "\r\n"


def fields(template, reply, eol=EOL, codes=None):
    return parse(template, eol, codes).fields(reply.encode("latin-1"))


@pytest.mark.parametrize(
    ("template", "reply", "found"),
    [
        # Keysight 34460-90901: SD.DDDDDDDDESDD
        ("{v:nr3}", "+9.99998713E+00", {"v": "+9.99998713E+00"}),
        ("{v:nr3:15}", "+9.99998713E+00", {"v": "+9.99998713E+00"}),
        ("{v:nr1}", "-12", {"v": "-12"}),
        ("{v:nr2}", "+.5", {"v": "+.5"}),
        ("{v:nr2}", "5.", {"v": "5."}),
        ("{v:nr}", "12", {"v": "12"}),
        ("{v:nr}", "1.5e3", {"v": "1.5e3"}),
        # Mettler-Toledo MT-SICS reference manual, command S: weight in ten places, right-justified
        ("S S {w:nr2:10} {u:unit}", "S S     100.00 g", {"w": "100.00", "u": "g"}),
        ("S S {w:nr2} {u:unit}", "S S     100.00 g", {"w": "100.00", "u": "g"}),
        # Druck PACE with its header echoed
        (":SENS:PRES {p:nr}", ":SENS:PRES 1.0132500", {"p": "1.0132500"}),
        ("{a,b,c:nr3}", "1E0,2E0,3E0", {"a": "1E0", "b": "2E0", "c": "3E0"}),
        ("{v1..v3:nr1*; }", "1; 2;   3", {"v1": "1", "v2": "2", "v3": "3"}),
        ("{n:nr1},{t:quoted}", '-113,"Undefined ""header"""', {"n": "-113", "t": 'Undefined "header"'}),
        ("{t:nr2}{u:unit}", "23.45°C", {"t": "23.45", "u": "°C"}),
        ("{w:snr} {u:unit}", "-   12.3 kg", {"w": "-12.3", "u": "kg"}),
        ("{a:text:5}{b:nr:6}", " ab    1.50", {"a": "ab", "b": "1.50"}),
        ("{{{v:nr1}}}", "{7}", {"v": "7"}),
        ("{m:text},{:text},{f:text}", "FLUKE,8588A,1.0", {"m": "FLUKE", "f": "1.0"}),
        ("P={:blanks}{v:nr2}", "P=  1.5", {"v": "1.5"}),
        ("P={:blanks}{v:nr2}", "P=1.5", {"v": "1.5"}),
        ("{s:bits},{h:hex}", "32,0xFF", {"s": "32", "h": "0xFF"}),
        ("{k:word} ok", "OL ok", {"k": "OL"}),
        ("{a:text}", "", {"a": ""}),
        ("#15{v:nr2:5}", "#1523.45", {"v": "23.45"}),  # IEEE 488.2-1992, 8.7.9: a block of five characters
        ("#15{v:nr2:5}", "#15 3.45", {"v": "3.45"}),
        ("{name:text} m", "N 12 m", None),  # text ends at the first blank here, since a blank follows it
    ],
)
def test_a_reply_is_read_as_a_whole(template, reply, found):
    assert fields(template, reply + EOL) == found


@pytest.mark.parametrize(
    ("template", "reply"),
    [
        ("{v:nr3}", "1.5"),
        ("{v:nr2}", "15"),
        ("{v:nr1}", "1.5"),
        ("{v:nr}", "1_000"),
        ("{v:nr}", "nan"),
        ("{v:nr}", "inf"),
        ("{v:nr}", "."),
        ("{v:nr}", "+"),
        ("{v:nr}", " 1.5"),
        ("{v:nr}", "1.5 "),
        ("{v:nr}", "1.5\r"),
        ("{v:nr}", "1.5,1.5"),
        ("{v:nr}", "١"),
        ("{v:nr}", "1.5E"),
        ("{a,b:nr3}", "1E0,2E0,3E0"),
        ("{a,b:nr3}", "1E0"),
        ("S S {w:nr2:10} {u:unit}", "S S    100.00 g"),
        ("S S {w:nr2:10} {u:unit}", "S S  100.0 0 g"),
        ("S S {w:nr2} {u:unit}", "S D 100.00 g"),
        ("{k:word}", "two words"),
        ("{t:quoted}", '"open'),
        ("{t:text}", "bell\x07"),
        ("{v:nr2}{u:unit}", "12.3E5V-"),
        ("#15{v:nr2:5}", "#1523.4"),
        ("#15{v:nr2:5}", "#1623.456"),
    ],
)
def test_what_is_not_exactly_the_reply_is_no_reply(template, reply):
    try:
        encoded = (reply + EOL).encode("latin-1")
    except UnicodeEncodeError:
        encoded = (reply + EOL).encode()
    assert parse(template, EOL).fields(encoded) is None


@pytest.mark.parametrize("ending", ["", "\n", "\r", "\r\r\n", "\n\r", "\r\n\n", "\r\n\r\n"])
def test_the_ending_is_part_of_the_reply(ending):
    assert fields("{v:nr2}", "1.5" + ending) is None


def test_an_enum_takes_its_codes_and_nothing_else():
    codes = {"s": ["S", "SI", "D"]}
    assert fields("{s:enum}{:blanks}", "SI" + EOL, codes=codes) == {"s": "SI"}
    assert fields("{s:enum}", "SX" + EOL, codes=codes) is None


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{v:nr4}", "no type 'nr4'"),
        ("{v:nr3", "no closing brace"),
        ("v}", "without an opening one"),
        ("{v}", "is not {name:type}"),
        ("{v:nr3}{w:nr3}", "nobody can tell where"),
        ("{a:text}{b:text}", "nobody can tell where"),
        ("{v:nr2}{w:word}", "nobody can tell where"),
        ("{v:nr1},{v:nr1}", "'v' stands twice"),
        ("{v:nr1} Ω", "not one byte"),
        ("{v:nr3:0}", "a width is 1 to"),
        ("{a b:nr3}", "is not {name:type}"),
        ("{v9..v1:nr3}", "neither a field's name nor a range"),
        ("{s:enum}", "lists its codes"),
        ("{x:blanks}", "neither name nor width"),
    ],
)
def test_a_wrong_template_says_what_is_wrong(template, words):
    with pytest.raises(TemplateError) as caught:
        parse(template, EOL)
    assert words in str(caught.value)


def test_the_length_is_known_where_every_part_has_one():
    assert parse("{a:nr2:8},{b:nr2:8}", "").length == 17
    assert parse("{a:nr2}", "").length is None
    assert parse("S S {a:nr2:8}", "").length is None  # the first blank may stand for several


def test_shapes_tell_templates_apart_whatever_their_names():
    assert parse("{a:nr3},{b:nr3}", EOL).shape == parse("{x:nr3},{y:nr3}", EOL).shape
    assert parse("{a:nr3}", EOL).shape != parse("{a:nr3:15}", EOL).shape


TEMPLATES = [
    "{v:nr3:15}",
    "S S {w:nr2:10} {u:unit}",
    ":SENS:PRES {p:nr3}",
    "{a,b,c:nr3}",
    "{m:text},{n:text},{s:text},{f:text}",
    "{n:nr1},{t:quoted}",
    "{w:snr} {u:unit}",
    "P={:blanks}{v:nr2} T={t:nr2} {u:unit}",
    "{s:bits};{h:hex}",
    "{a:text:5}{b:nr:6}",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_matches_its_own_sample(template):
    parsed = parse(template, EOL)
    assert parsed.fields((parsed.sample() + EOL).encode("latin-1")) is not None


def test_fixed_width_shows_what_varying_width_cannot():
    assert weaknesses(parse("{v:nr3:15}", EOL), EOL) == []
    assert any("lost its first" in weakness for weakness in weaknesses(parse("{v:nr3}", EOL), EOL))
    assert any("lost its last" in weakness for weakness in weaknesses(parse("{v:nr2}", EOL), EOL))


@given(template=st.sampled_from(TEMPLATES), junk=st.text(st.characters(max_codepoint=255), min_size=1, max_size=40))
def test_nothing_before_or_behind_a_reply_is_taken_for_it(template, junk):
    parsed = parse(template, EOL)
    whole = (parsed.sample() + EOL).encode("latin-1")
    behind = whole + junk.encode("latin-1")
    assert parsed.fields(behind) is None
    assert parsed.fields(whole + whole) is None


@given(template=st.sampled_from(TEMPLATES), cut=st.integers(min_value=0, max_value=200))
def test_a_reply_without_its_last_bytes_is_no_reply(template, cut):
    parsed = parse(template, EOL)
    whole = (parsed.sample() + EOL).encode("latin-1")
    assert parsed.fields(whole[: cut % len(whole)]) is None


@given(reply=st.binary(max_size=60))
def test_any_bytes_give_whole_fields_or_nothing(reply):
    for template in TEMPLATES:
        found = parse(template, EOL).fields(reply + b"\r\n")
        assert found is None or set(found) == set(parse(template, EOL).types)


def evil():
    return st.builds(
        lambda unit, times, tail: unit * times + tail,
        st.sampled_from(["1", "1.", "1E", " ", '"', '""', ",", "-", "a", "1 ", "{", "S S ", "°"]),
        st.integers(min_value=1000, max_value=60000),
        st.sampled_from(["", "x", "\r", "\r\n", '"']),
    )


@settings(deadline=None, max_examples=60)
@given(template=st.sampled_from(TEMPLATES), reply=evil())
def test_matching_takes_time_in_proportion_to_the_reply(template, reply):
    """A pattern that gives back what it took needs hours for these; CPU time is counted, the machine may be busy."""
    parsed = parse(template, EOL)
    encoded = reply.encode("latin-1")
    begun = time.process_time()
    parsed.fields(encoded)
    assert time.process_time() - begun < 2


def test_an_empty_reply_is_an_acknowledgement_and_nothing_else_is():
    template = parse("", "\r\n", {})
    assert template.fields(b"\r\n") == {}
    assert template.fields(b"E\r\n") is None


@pytest.mark.parametrize("source", ["{v:nr}9:{u:unit}", "{v:nr2:1}", "{v:nr3:2}"])
def test_a_template_that_no_reply_can_match_is_refused(source):
    with pytest.raises(TemplateError, match="can match no reply"):
        parse(source, "\n")
