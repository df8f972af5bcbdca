"""What OmegaConf makes of YAML texts, and Hydra of overrides: java/cli's values.jsonl.

Needs hydra-core 1.3 and omegaconf 2.3. Run: python hydra_values.py > values.jsonl
A line is {"yaml": TEXT, "value": ...}, {"yaml": TEXT, "error": true} or {"override": TEXT, "value": ...}.
"""

import json

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

SCALARS = """
yes Yes YES yEs no No NO on On ON oN off Off OFF y Y n N true True TRUE tRUE false False FALSE t f
null Null NULL nULL ~ None nil
0 1 -1 +1 1_000 1__000 _1 1_ 10_ 0_ 00 007 0_17 017 -017 08 09 0o17 0O17 0b101 0b1_0 -0b11 0B11 0b102
0x1F 0x1_f 0X1F -0xff 0xfg 12345678901234567890 -9223372036854775808 9223372036854775807
1:30 1:30:15 -1:30 0:30 01:30 1:99 1:60 9:59.5 1:30.25 1:2:3.5 12:30:45 190:20:30
1.0 1. .5 -.5 +.5 -1.5 1.5e3 1.5e+3 1.5e-3 1e3 1E3 1e-3 -1e-3 +1e-3 1e+3 1_0e3 1_0.0_1 1e 1e- e3 1.e3 .5e3 .5e-3 1.2.3 1_000.5
01.5 00.5 01e3 5e-324 1e400 .inf -.inf +.inf .INF .Inf inf Infinity -inf .nan .NaN .NAN nan NaN -.nan
2020-01-01 2020-01-01T00:00:00 2020-01-01T00:00:00Z 12:00 2001-12-14t21:59:43.10-05:00
a abc a_b a-b a.b a/b ./x ~/x ../x ${a.b} ${oc.env:X,yes} hello-world 1a 1,000 1/2 50% +- - -- . .. ... +
""".split() + ["- 1", "'yes'", '"on"', "'1_000'", '"1e-3"', "'null'", "a b", "yes no", "1 2", "''", '""', "| \n  yes", ">\n  1_000\n",
               "!!str yes", "!!str 1_000", "!!int '017'", "!!float '1'", "!!bool 'no'", "!!null ''", "'a\\nb'", '"a\\nb"', '"\\u00e9"']

DOCUMENTS = [
    "", "# nothing\n", "---\na: 1\n", "a: &x 1\nb: *x\n", "a: &x [1, yes]\nb: *x\n", "a: &x {p: 1, q: no}\nb: *x\n",
    "d: &d {p: 1, q: 2}\nm:\n  <<: *d\n  q: 3\n", "d: &d {p: 1, q: 2}\nm:\n  q: 3\n  r: 4\n  <<: *d\n",
    "d: &d {p: 1}\ne: &e {p: 2, q: 3}\nm: {<<: [*d, *e], z: 0}\n", "d: &d {p: 1}\ne: &e {p: 2}\nm:\n  <<: *d\n  <<: *e\n",
    "d: &d {p: {x: 1, y: 2}}\nm:\n  <<: *d\n  p: {x: 9}\n", "c: &c {k: 1}\nd: &d {<<: *c, l: 2}\nm: {<<: *d}\n", "m: {<<: {a: 1}, b: 2}\n",
    "a: [yes, no, 1_000, 1e-3, 2020-01-01, ~, '~']\n", "a: {b: {c: on}}\n", "a:\n  - b: off\n  - - 017\n", "a:\n", "a: |\n  one\n  two\n",
    "a: >-\n  one\n  two\n", "1: a\n2: b\n", "1_000: a\n", "'yes': a\n", "a: 1 # c\n", "a: '#'\n", "a: b#c\n", "a: 1\na: 2\n",
    "a: [1, 2\n", "a: {b: 1\n", "a: 'x\n", "a: @x\n", "a: `x\n", "a: %x\n", "a: *nothing\n", "a: !foo 1\n", "a: !!timestamp 2020-01-01\n",
    "\ta: b\n", "a: b: c\n", "a: 0b_\n", "a: !!int yes\n", "m: {<<: 1}\n", "m: {<<: [1]}\n", "? [a]\n: 1\n", "a: !!python/tuple [1]\n",
    "x: {a: 1, b}\n", "[a]: 1\n", "a: <<\n", "a: [<<]\n",
]

OVERRIDES = """
yes no on off Yes ON true TRUE False y n 1_000 1__0 1_ _1 0_1 007 00 0o17 017 0x1f 0b1 1:30 1:30.5 2020-01-01 1e-3 1e3 1E5 .5 5. -.5e-1
01.5 1.e5 1_0.0_1 inf -INF +inf nan NaN null NULL Null None -1 +1 --1 1.2.3 1.2 12345678901234567890 [] {} [1,yes] [1_000,017] {a:1,b:yes}
{a:{b:[1]}} [[1],[2]] a/b.c a:b a@b a%b a|b a*b a?b a+b $x ${x} a${x}b 'yes' "1" '1_000' 'a,b' "it's" a\\,b a\\=b a\\[b
""".split() + ["a b", " a ", "[a b, c]", "{a: 1, b: no}", "'it\\'s'", '"a\\"b"', "[ 1 , 2 ]", "'a\\\\'", "a\\ b", ""]


def plain(value):
    return OmegaConf.to_container(value, resolve=False) if OmegaConf.is_config(value) else value


def yaml_line(text):
    try:
        value = plain(OmegaConf.create(text))
        return {"yaml": text, "value": {str(k): v for k, v in value.items()} if isinstance(value, dict) else value}
    except Exception:  # the parser's, the constructor's and OmegaConf's own
        return {"yaml": text, "error": True}


def main():
    for scalar in SCALARS:
        print(json.dumps(yaml_line(f"a: {scalar}\n")))
    for document in DOCUMENTS:
        print(json.dumps(yaml_line(document)))
    parser = OverridesParser.create()
    for value in OVERRIDES:
        override = parser.parse_override("k=" + value)
        print(json.dumps({"override": "k=" + value, "value": override.value()}))


main()
