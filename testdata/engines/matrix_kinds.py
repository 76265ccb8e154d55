"""The types of matrix.py: for each its values, how Arrow holds them, and how values that an engine read are told apart.

A value of the model is a plain Python value that doesn't depend on units or on an engine's types: integers for integers,
days for dates, nanoseconds for times and timestamps, Decimal, text, bytes, tuples for structs, lists and maps. Floats are
floats but for NaN and -0.0, which Python's == doesn't see.
"""

import dataclasses
import decimal
import math
import struct
import typing
import uuid

import numpy as np
import pyarrow as pa

NAN, MINUS_ZERO = "nan", "-0"
NANOS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
DAY = 86_400 * 10**9
WORDS = ["", "a", "AIR", "résumé", "한국어", "x\x00y", "it's", "two\nlines", " pad ", "🦆", "\uffff", "é" * 50 + "1", "é" * 50 + "2", "z" * 300]


@dataclasses.dataclass
class Kind:
    name: str
    arrow: pa.DataType
    edges: list
    draw: typing.Callable  # (rng) -> a value
    key: bool = True  # may be a key
    small: bool = False  # too few values for a unique key by itself
    float: bool = False
    wild: bool = False  # values beyond the years 1 to 9999


KINDS: dict[str, Kind] = {}


def kind(name, arrow, edges, draw, **more):
    KINDS[name] = Kind(name, arrow, edges, draw, **more)


def plain_float(v):
    v = float(v)
    return NAN if math.isnan(v) else MINUS_ZERO if v == 0 and math.copysign(1, v) < 0 else v


def _define():
    kind("bool", pa.bool_(), [False, True], lambda r: bool(r.random() < 0.5), small=True)
    for bits in (8, 16, 32, 64):
        for sign, low, high in (("", -2**(bits - 1), 2**(bits - 1) - 1), ("u", 0, 2**bits - 1)):
            kind(f"{sign}int{bits}", getattr(pa, f"{sign}int{bits}")(), [low, high, 0, 1, high - 1, low + 1],
                 # Far apart and close together: differences of all widths for delta encodings.
                 lambda r, low=low, high=high, sign=sign, bits=bits:
                 int(r.integers(low, high, dtype=f"{sign}int{bits}", endpoint=True)) if r.random() < 0.5
                 else int(r.integers(0, min(high, 1000))),
                 small=bits == 8)
    for name, code in (("float16", "e"), ("float", "f"), ("double", "d")):
        def draw(r, code=code):
            return plain_float(struct.unpack(code, struct.pack(code, float(r.standard_normal()) * 100))[0])
        tiny = {"e": 2.0**-24, "f": 2.0**-149, "d": 5e-324}[code]
        most = {"e": 65504.0, "f": float(np.finfo("float32").max), "d": float(np.finfo("float64").max)}[code]
        arrow = {"e": pa.float16(), "f": pa.float32(), "d": pa.float64()}[code]
        kind(name, arrow, [NAN, MINUS_ZERO, 0.0, math.inf, -math.inf, tiny, -most, most], draw, float=True)
    for p, s in ((4, 1), (9, 2), (18, 4), (38, 10), (76, 20)):
        def draw(r, p=p, s=s):
            digits = int(r.integers(1, p + 1))
            n = int("".join(map(str, r.integers(0, 10, digits)))) * (-1 if r.random() < 0.5 else 1)
            return scaled(n, s)
        most = 10**p - 1
        arrow = pa.decimal128(p, s) if p <= 38 else pa.decimal256(p, s)
        kind(f"dec{p}", arrow, [scaled(n, s) for n in (0, 1, -1, most, -most, -128, 255, -32769)] if p > 4 else
             [scaled(n, s) for n in (0, 1, -1, most, -most, -128, 255)], draw)

    def word(r):
        return WORDS[int(r.integers(len(WORDS)))] if r.random() < 0.4 else f"row {int(r.integers(10**6))} {'.' * int(r.integers(20))}"

    def some_bytes(r, n=None):
        return r.bytes(int(r.integers(0, 12)) if n is None else n)
    kind("string", pa.string(), WORDS, word)
    kind("large_string", pa.large_string(), WORDS, word)
    kind("dictionary", pa.dictionary(pa.int32(), pa.string()), WORDS, word)
    kind("categories", pa.string(), ["", "a", "résumé", "한국어"], lambda r: str(r.choice(["", "a", "résumé", "한국어"])), small=True)
    # As compact as fastparquet makes it.
    kind("json", pa.string(), ["{}", "[]", '{"a":[1,2.5,"\\u00e9"]}', "1", '""'], lambda r: f'{{"n":{int(r.integers(10**6))}}}')
    kind("binary", pa.binary(), [b"", b"\x00", b"\xff" * 3, bytes(range(256)), b"\x80\x00"], some_bytes)
    kind("fixed", pa.binary(6), [b"\x00" * 6, b"\xff" * 6, b"\x80" + b"\x00" * 5], lambda r: some_bytes(r, 6))
    kind("uuid", pa.uuid(), [b"\x00" * 16, b"\xff" * 16, b"\x80" + b"\x00" * 15], lambda r: some_bytes(r, 16))
    # 0001-01-01, 1582-10-04 and -15 (the days between are none in Spark's legacy calendar), around 1900, 1970, 9999-12-31.
    dates = [-719162, -141438, -141427, -25568, -25567, -1, 0, 1, 19000, 2932896]
    kind("date", pa.date32(), dates, lambda r: int(r.integers(-30000, 40000)))
    kind("date_wild", pa.date32(), [-2**31, 2**31 - 1, -141428, *dates], lambda r: int(r.integers(-2**31, 2**31)), wild=True)
    for unit, step in list(NANOS.items())[1:]:
        arrow = pa.time32(unit) if unit == "ms" else pa.time64(unit)
        kind(f"time_{unit}", arrow, [0, step, DAY - step], lambda r, step=step: int(r.integers(0, DAY // step)) * step)
    for unit, step in list(NANOS.items())[1:]:
        if unit == "ns":
            edges = [-2**63, -2**63 + 1, 2**63 - 1, 0, -1, 1, 1_577_836_800_123_456_789]
        else:
            edges = [d * DAY + t for d in dates for t in (0, step)] + [-step, DAY - step]
        for zone in (None, "UTC"):
            kind(f"ts_{unit}" + ("_utc" if zone else ""), pa.timestamp(unit, zone), edges,
                 lambda r, step=step: int(r.integers(-10**15, 2 * 10**15)) * 1000 // step * step)
    kind("ts_us_wild", pa.timestamp("us"), [-2**63 * 1000 + 1000, (2**63 - 1) * 1000, 0],
         lambda r: int(r.integers(-2**62, 2**62)) * 1000, wild=True)
    # INT96 in what nanoseconds of 64 bits hold, for pyarrow reads no more; earlier days are Spark's.
    edges = [-2**63 // 1000 * 1000 + 1000, 2**63 // 1000 * 1000, 0, -1000, 1000, 1_577_836_800_123_456_000]
    kind("int96", pa.timestamp("ns"), edges, lambda r: int(r.integers(-10**15, 2 * 10**15)) * 1000)
    kind("int96_ns", pa.timestamp("ns"), [*edges, -1, 1, -2**63 + 1, 2**63 - 1], lambda r: int(r.integers(-10**18, 2 * 10**18)))
    kind("duration", pa.duration("us"), [0, -1, 10**15], lambda r: int(r.integers(-10**12, 10**12)))
    kind("interval", pa.month_day_nano_interval(), [(0, 0, 0), (1, 2, 3_000_000), (14, 31, DAY - 10**6)],
         lambda r: (int(r.integers(0, 40)), int(r.integers(0, 40)), int(r.integers(0, 86_400_000)) * 10**6), key=False)
    kind("null", pa.null(), [None], lambda r: None, key=False)

    def maybe(r, v):
        return None if r.random() < 0.15 else v

    def number(r):
        return int(r.integers(-2**31, 2**31))

    def several(r, item, most=4):
        return tuple(item(r) for _ in range(int(r.integers(0, most))))
    pair = pa.struct([("a", pa.int32()), ("b", pa.string())])
    kind("struct", pair, [(None, None), (0, "")], lambda r: (maybe(r, number(r)), maybe(r, word(r))), key=False)
    deep = pa.struct([("d", pa.decimal128(12, 3)), ("s", pair)])
    kind("nested", deep, [(None, None), (scaled(-1, 3), (None, ""))],
         lambda r: (maybe(r, scaled(number(r), 3)), maybe(r, (number(r), maybe(r, word(r))))), key=False)
    kind("list", pa.list_(pa.int32()), [(), (None,), (1, None, 2)], lambda r: several(r, lambda r: maybe(r, number(r))), key=False)
    kind("words", pa.list_(pa.string()), [(), (None,), ("", None, "é")], lambda r: several(r, lambda r: maybe(r, word(r))), key=False)
    kind("lists", pa.list_(pa.list_(pa.int64())), [(), (None,), ((), (None,), None)],
         lambda r: several(r, lambda r: maybe(r, several(r, number)), 3), key=False)
    kind("list_struct", pa.list_(pair), [(), (None,), ((None, None), (1, ""))],
         lambda r: several(r, lambda r: maybe(r, (maybe(r, number(r)), maybe(r, word(r))))), key=False)
    kind("vector", pa.list_(pa.float32(), 3), [(0.0, 1.0, -1.5)], lambda r: tuple(float(int(v)) / 4 for v in r.integers(-9, 9, 3)),
         key=False)
    kind("map", pa.map_(pa.string(), pa.int64()), [(), (("", None),)],
         lambda r: tuple((f"k{j}", maybe(r, number(r))) for j in range(int(r.integers(0, 4)))), key=False)
    # Never NULL, and no NULL inside: a repeated field without a LIST around it has neither.
    kind("repeated", pa.list_(pa.int32()), [(), (1,), (1, 2, 3)], lambda r: several(r, number), key=False)


WIDE = decimal.Context(prec=100)


def scaled(n, scale):
    return decimal.Decimal(n).scaleb(-scale, context=WIDE)


_define()


def values(rng, k, n, nulls):
    """n values: the edges among them, so far as there is room."""
    picked = [k.edges[i] if i < len(k.edges) else k.draw(rng) for i in range(n)]
    picked = [picked[i] for i in rng.permutation(n)]
    if k.name == "null":
        return picked
    return [None if rng.random() < nulls else v for v in picked]


def distinct(rng, k, n):
    """n values of which no two are equal as keys."""
    seen, out = set(), []
    pool = list(k.edges)
    while len(out) < n:
        v = pool.pop() if pool else k.draw(rng)
        if key_of(v) not in seen:
            seen.add(key_of(v))
            out.append(v)
    return out


def julian(k, v):
    """Is a value one that Spark's legacy modes write as another number?"""
    if v is None or not (pa.types.is_date(k.arrow) or pa.types.is_timestamp(k.arrow)):
        return False
    return v < -141427 if pa.types.is_date(k.arrow) else v < -2208988800 * 10**9


def key_of(v):
    return 0.0 if v == MINUS_ZERO and isinstance(v, str) else v


def order_of(v):
    """What versions and sorted keys compare by; NULL is the lowest."""
    if v is None:
        return (0,)
    if v == NAN:
        return (2,)
    if v == MINUS_ZERO:
        v = 0.0
    return (1, v.encode() if isinstance(v, str) else v)


def native(v):
    return math.nan if v == NAN else -0.0 if v == MINUS_ZERO else v


def to_arrow(k, vals):
    t = k.arrow
    if k.float:
        vals = [None if v is None else native(v) for v in vals]
        if t == pa.float16():
            vals = [None if v is None else np.float16(v) for v in vals]
        return pa.array(vals, t)
    if pa.types.is_temporal(t) and not pa.types.is_interval(t):
        step = step_of(t)
        width = pa.int32() if t.bit_width == 32 else pa.int64()
        return pa.array([None if v is None else v // step for v in vals], width).cast(t)
    if k.name == "uuid":
        return pa.ExtensionArray.from_storage(t, pa.array(vals, pa.binary(16)))
    if pa.types.is_interval(t):
        return pa.array([None if v is None else pa.MonthDayNano(v) for v in vals], t)
    return pa.array([from_tuple(v, t) for v in vals], t)


def step_of(t):
    """What one is in the model. Durations are what INT64 holds, for but Arrow's schema says what they are."""
    return 1 if pa.types.is_date(t) or pa.types.is_duration(t) else NANOS[t.unit]


def from_tuple(v, t):
    if v is None:
        return None
    if pa.types.is_struct(t):
        return {f.name: from_tuple(x, f.type) for f, x in zip(t, v)}
    if pa.types.is_map(t):
        return list(v)
    if pa.types.is_list(t) or pa.types.is_fixed_size_list(t):
        return [from_tuple(x, t.value_type) for x in v]
    return v


def canon(k, column):
    """The model's values of a column that an engine gave as Arrow."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # of no chunks
            return []
    t = column.type
    if isinstance(t, pa.ExtensionType):
        column, t = column.storage, t.storage_type
    if pa.types.is_dictionary(t):
        column = column.dictionary_decode()
        t = column.type
    if pa.types.is_floating(t):
        return [None if v is None else plain_float(v) for v in column.to_pylist()]
    if pa.types.is_interval(t):
        return [None if v is None else tuple(v) for v in column.to_pylist()]
    if pa.types.is_temporal(t):
        step = step_of(t)
        ints = column.cast(pa.int32() if t.bit_width == 32 else pa.int64()).to_pylist()
        if t == pa.date64():
            return [None if v is None else v // 86_400_000 for v in ints]
        return [None if v is None else v * step for v in ints]
    out = column.to_pylist()
    if pa.types.is_nested(t):
        return [to_tuple(v) for v in out]
    if k.name == "uuid":
        return [uuid.UUID(v).bytes if isinstance(v, str) else v.bytes if isinstance(v, uuid.UUID) else v for v in out]
    if k.name == "interval":  # pyarrow doesn't know the annotation
        return [None if v is None else (*struct.unpack("<II", v[:8]), struct.unpack("<I", v[8:])[0] * 10**6) for v in out]
    if pa.types.is_binary(t) and k.arrow == pa.string():  # nor ENUM's
        return [None if v is None else v.decode() for v in out]
    return out


def to_tuple(v):
    if isinstance(v, dict):
        return tuple(to_tuple(x) for x in v.values())
    if isinstance(v, (list, tuple)):
        return tuple(to_tuple(x) for x in v)
    return plain_float(v) if isinstance(v, float) else v


def from_spark(v):
    """A value of a dump of Engines.java: a letter and the value's text, or a list."""
    if v is None or isinstance(v, bool):
        return v
    if isinstance(v, list):
        return tuple(from_spark(x) for x in v)
    text = v[1:]
    match v[0]:
        case "i":
            return int(text)
        case "n":
            return decimal.Decimal(text)
        case "f":
            return plain_float(float(text))
        case "t":
            return int(text) * 1000
        case "x":
            return bytes.fromhex(text)
    return text
