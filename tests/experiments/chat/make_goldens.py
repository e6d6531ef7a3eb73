"""Renders templates with Jinja2 as Hugging Face's apply_chat_template sets it up, and writes what
tests/experiments/test_jinja.c expects:

    make_goldens.py FOLDER    FOLDER has the chat templates of public models (*.jinja)

    constructs.json   from constructs.txt: small templates of our own, their output or "error"
    real.txt          one line a template of FOLDER: name, XXH3-64 of its bytes, and of what each
                      conversation of conversations.json renders to ("error": Jinja2 refuses)

Needs jinja2 and xxhash; made with jinja2 3.1.6.
"""
import datetime, json, pathlib, sys
import jinja2, jinja2.ext, jinja2.nodes, xxhash
from jinja2.sandbox import ImmutableSandboxedEnvironment

here = pathlib.Path(__file__).parent
NOW = datetime.datetime(2025, 3, 7, 14, 5, 9)
OWN = {"bos_token": "<s>", "eos_token": "</s>"}


class Generation(jinja2.ext.Extension):
    """{% generation %}: a call block around what the assistant said."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def render(source, variables):
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    try:
        return env.from_string(source).render(**variables, **OWN)
    except Exception as error:  # whatever Python raises, the template fails
        return error


def hashed(text):
    return "error" if isinstance(text, Exception) else xxhash.xxh3_64_hexdigest(text.encode())


def constructs():
    """Cases are apart by lines of dashes; a first line that begins with { holds variables."""
    cases = []
    for case in (here / "constructs.txt").read_text().split("\n-----\n"):
        variables = {}
        if case.startswith('{"'):
            first, case = case.split("\n", 1)
            variables = json.loads(first)
        text = render(case, variables)
        row = {"template": case, "variables": variables}
        row.update({"error": str(text)} if isinstance(text, Exception) else {"output": text})
        cases.append(row)
    rows = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    (here / "constructs.json").write_text("[\n" + rows + "\n]\n")


def real(folder):
    conversations = json.loads((here / "conversations.json").read_text())
    with open(here / "real.txt", "w") as out:
        for path in sorted(folder.glob("*.jinja")):
            source = path.read_text()
            row = [path.name, xxhash.xxh3_64_hexdigest(path.read_bytes())]
            for c in conversations:
                row.append(hashed(render(source, {k: v for k, v in c.items() if k != "name"})))
            out.write(" ".join(row) + "\n")


constructs()
if len(sys.argv) > 1:
    real(pathlib.Path(sys.argv[1]))
