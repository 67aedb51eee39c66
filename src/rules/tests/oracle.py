"""What SQLite says: random rules and rows with their outcome, one JSON object per line.

Usage: oracle.py SEED COUNT. The SQL is what section 5.5 of the contract says PocketBase makes of a rule.
"""

import json
import random
import sqlite3
import sys

seed, count = sys.argv[1:]
rng = random.Random(int(seed))
db = sqlite3.connect(":memory:")
db.execute(
    "create table r (t text, u text, n numeric, m numeric, b boolean, d text, j text, s json, s2 json)"
)

TEXTS = ["", "a", "A", "abc", "5", "5.0", " 5 ", "-1", "10", "1e2", "1.50", "é", "É", "a%c", "a_c", "%", "_",
         "\\", "a\\", "10a", "2024", "[]", "+7", ".5", "5.", "0x5", "inf", "nan", "true", "1", "zzz", "a\\%c"]
NUMBERS = [0, 1, -1, 5, 5.5, 10, 100, 1e15, 1e16, 123456789012345678, 0.1, 1e-5, 1.0 / 3, -0.25, 7, 1e21]
DATES = ["", "2024-05-05 10:00:00.000Z", "2023-01-01 00:00:00.000Z", "2025-12-31 23:59:59.999Z"]


def scalar():
    # Without the number that Python and Rust spell differently: its spelling counts inside JSON.
    number = rng.choice([number for number in NUMBERS if number != 1e-5])
    return rng.choice([None, True, False, number, rng.choice(TEXTS), rng.choice(TEXTS)])


def row():
    items = lambda: [rng.choice([*TEXTS[:8], None]) for _ in range(rng.randint(0, 3))]
    return {
        "t": rng.choice(TEXTS), "u": rng.choice(TEXTS), "n": rng.choice(NUMBERS), "m": rng.choice(NUMBERS),
        "b": rng.choice([True, False]), "d": rng.choice(DATES),
        "j": rng.choice([scalar(), {"a": scalar(), "b": [scalar(), scalar()]}, [scalar()]]),
        "s": items(), "s2": items(),
    }


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# (rule, SQL, class, params, join)
def field(name):
    return (name, name, "column", [], None)


def extract(name, path):
    return (name, f"json_extract(j, '{path}')", "json", [], None)


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal():
    kind = rng.randrange(5)
    if kind == 0:
        number = rng.choice(NUMBERS)
        return (format(number, "f") if number < 1e15 else str(int(number)), "?", "known",
                [float(format(number, "f") if number < 1e15 else int(number))], None)
    if kind == 1:
        word = rng.choice(["true", "false"])
        return (word, "1" if word == "true" else "0", "known", [], None)
    if kind == 2:
        return ("null", "NULL", "empty", [], None)
    text = rng.choice(TEXTS)
    return (quoted(text), "?", "known" if text else "empty", [text], None)


def operand():
    return rng.choice([
        literal, literal, lambda: field(rng.choice("tunmbd")), lambda: field(rng.choice("tunm")), lambda: field("s"),
        lambda: extract("j", "$"), lambda: extract("j.a", "$.a"), lambda: extract("j.b.1", "$.b[1]"),
        lambda: extract("j.0", "$[0]"),
        lambda: ("t:lower", "lower(t)", "column", [], None),
        lambda: ("n:lower", "lower(n)", "column", [], None),
        lambda: ("j:lower", "lower(json_extract(j, '$'))", "json", [], None),
        lambda: ("s:length", "json_array_length(s)", "column", [], None),
        lambda: ("s:each", "e1.value", "column", [], "s"),
        lambda: ("s2:each", "e2.value", "column", [], "s2"),
        lambda: ("strftime('%Y %j %W %w', d)", "strftime('%Y %j %W %w', d)", "column", [], None),
    ])()


def pattern(value):
    text = value
    if isinstance(value, float):
        text = format(value, "f").rstrip("0").rstrip(".") if abs(value) < 1e15 and abs(value) > 1e-4 else None
        if text is None or float(text) != value:
            text = repr(value) if "e" not in repr(value) else format(value, ".20f").rstrip("0").rstrip(".")
            if abs(value) >= 1e15:
                text = str(int(value))
            if value == 1e-5:
                text = "0.00001"
            if text.endswith(".0"):
                text = text[:-2]
    i, wild = 0, False
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == "%":
            wild = True
        i += 1
    if wild:
        return text
    out, i = "", len(text) - 1
    while i >= 0:
        out = text[i] + out
        if text[i] in "\\%_":
            out = "\\" + out
            if i > 0 and text[i - 1] == "\\":
                i -= 1
        i -= 1
    return "%" + out + "%"


def sql(left, op, right):
    (_, l, lc, lp, _), (_, r, rc, rp, _) = left, right
    if op in ("~", "!~"):
        word = "LIKE" if op == "~" else "NOT LIKE"
        if rp:
            return f"{l} {word} ? ESCAPE '\\'", lp + [pattern(rp[0])]
        return f"{l} {word} ('%' || {r} || '%') ESCAPE '\\'", lp
    if op not in ("=", "!="):
        return f"{l} {op} {r}", lp + rp
    equal, nulls, join, null = ("=", "IS", "OR", "IS NULL") if op == "=" else ("IS NOT", "IS NOT", "AND", "IS NOT NULL")
    if "json" in (lc, rc):
        return f"{l} {nulls} {r}", lp + rp
    if lc == rc == "empty":
        return f"'' {equal} ''", []
    if "known" in (lc, rc):
        l, lp = ("''", []) if lc == "empty" else (l, lp)
        r, rp = ("''", []) if rc == "empty" else (r, rp)
        return f"{l} {equal} {r}", lp + rp
    if lc == "empty":
        return f"('' {equal} {r} {join} {r} {null})", []
    if rc == "empty":
        return f"({l} {equal} '' {join} {l} {null})", []
    return f"COALESCE({l}, '') {equal} COALESCE({r}, '')", []


def comparison():
    left, right = operand(), operand()
    if right[0].startswith("strftime"):
        left, right = right, left
    if right[0].startswith("strftime"):
        right = literal()
    op = rng.choice(["=", "!=", ">", ">=", "<", "<=", "~", "!~"])
    any_of = rng.random() < 0.4
    text = f"{left[0]} {'?' if any_of else ''}{op} {right[0]}"
    condition, params = sql(left, op, right)
    joins = [side[4] for side in (left, right) if side[4]]
    if joins and not any_of:
        froms, sides = [], []
        for index, side in enumerate((left, right)):
            if side[4]:
                froms.append(f"(select v.value from r as q{index} left join json_each(q{index}.{side[4]}) v) as x{index}")
                sides.append((side[0], f"x{index}.value", *side[2:]))
            else:
                sides.append(side)
        inner, more = sql(sides[0], op, sides[1])
        condition = f"({condition}) and not exists (select 1 from {', '.join(froms)} where not ({inner}))"
        params = params + more
    return text, f"({condition})", params


def expression(depth):
    if depth == 0 or rng.random() < 0.5:
        return comparison()
    parts = [expression(depth - 1) for _ in range(rng.randint(2, 3))]
    rule, joined = rng.choice([("&&", "and"), ("||", "or")])
    return (
        "(" + f" {rule} ".join(part[0] for part in parts) + ")",
        "(" + f" {joined} ".join(part[1] for part in parts) + ")",
        [param for part in parts for param in part[2]],
    )


def time_value():
    # No 31st of February, no hour 24, no numbers out of range: SQLite keeps some of them as written until a
    # modifier comes, and computes nonsense of others.
    return rng.choice([
        lambda: quoted(f"{rng.randint(0, 9999):04}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"),
        lambda: quoted(f"20{rng.randint(0, 99):02}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
                       f"{rng.choice('T ')}{rng.randint(0, 23):02}:{rng.randint(0, 59):02}"
                       f"{rng.choice(['', ':07', ':59.5', ':30.1239'])}"
                       f"{rng.choice(['', '', 'Z', ' +02:00', '-09:30'])}"),
        lambda: quoted(rng.choice(["12:30", "23:59:59.999", "2024-13-01", "2024-1-1", "x", "", "2460000.25", "2024-02-29"])),
        lambda: str(rng.choice([2460000.5, 2415021, 2451544.999])),
    ])()


def modifier():
    return quoted(rng.choice([
        "start of day", "start of month", "start of year", "weekday 0", "weekday 3", "Weekday 6", "utc",
        f"{rng.choice(['', '+', '-'])}{rng.choice([0, 1, 13, 400, 1.5, 0.25])} "
        f"{rng.choice(['day', 'days', 'hours', 'minute', 'seconds', 'month', 'months', 'years', 'year'])}",
        rng.choice(["+02:30", "-23:59", "+01:00:30.5"]),
    ]))


def time_call():
    conversions = rng.sample(["%d", "%f", "%H", "%j", "%J", "%m", "%M", "%s", "%S", "%w", "%W", "%Y", "%%", "x"], 6)
    first = rng.choice([[], [], ["'unixepoch'"], ["'auto'"], ["'julianday'"]])
    arguments = [f"'{'|'.join(conversions)}'", time_value(), *first, *(modifier() for _ in range(rng.randint(0, 3)))]
    call = f"strftime({', '.join(arguments)})"
    return call, db.execute("select " + call.replace('"', "'")).fetchone()[0]


for _ in range(int(count) // 4):
    call, written = time_call()
    print(json.dumps({"rule": f"{call} = {quoted(written or '')}", "row": {}, "outcome": True}))

for _ in range(int(count)):
    values = row()
    db.execute("delete from r")
    db.execute(
        "insert into r values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [values[k] for k in "tunmbd"] + [None if values["j"] is None else compact(values["j"])]
        + [compact(values["s"]), compact(values["s2"])],
    )
    rule, condition, params = expression(2)
    query = f"select exists (select 1 from r left join json_each(r.s) e1 left join json_each(r.s2) e2 where {condition})"
    try:
        outcome = bool(db.execute(query, params).fetchone()[0])
    except sqlite3.OperationalError:
        # It puts the text a list is compared with in the list's place, and then finds no JSON there.
        continue
    print(json.dumps({"rule": rule, "row": values, "outcome": outcome}))
