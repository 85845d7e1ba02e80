#!/usr/bin/env python3
"""Reads a .gaunt file with nothing but Python's standard library: the format by docs/format.md, written from that page alone.

    python3 scripts/read_gaunt.py FILE.gaunt [DIR]

lists the tensors of a file and, with a DIR, writes each as NumPy arrays: NAME.npy of what it stands for as float32, and NAME.codes.npy of the
codes. It is meant to be read beside the page, section by section, and checks checksums; it is slow, and trusts the file otherwise.
"""

import math
import pathlib
import struct
import sys
import zlib


def clamp(x, least, most):
    return max(least, min(x, most))


# Notation of the page.
class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        assert self.at + count <= len(self.data), "the file is cut"
        self.at += count
        return self.data[self.at - count : self.at]

    def rest(self):
        return self.take(len(self.data) - self.at)

    def byte(self):
        return self.take(1)[0]

    def float(self):
        return struct.unpack("<f", self.take(4))[0]

    def number(self):
        value, shift = 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def string(self):
        return self.take(self.number()).decode()

    def list(self):
        return [self.number() for _ in range(self.number())]


# Section 6.
class RangeDecoder:
    def __init__(self, data):
        self.data, self.at, self.range, self.value = data, 4, 2**32 - 1, int.from_bytes(data[:4].ljust(4, b"\0"), "big")

    def bit(self, p):
        bound = self.range * p >> 16
        bit = self.value < bound
        if bit:
            self.range = bound
        else:
            self.range, self.value = self.range - bound, self.value - bound
        while self.range < 1 << 24:
            following = self.data[self.at] if self.at < len(self.data) else 0
            self.range, self.value, self.at = self.range << 8, self.value << 8 | following, self.at + 1
        return int(bit)


# Section 7.
def fraction(x):
    """The place of the leading one, and the eight bits below it."""
    place = x.bit_length() - 1
    return place, (x << 8 >> place) & 255


ROUNDED = [round(256 * math.log2(1 + i / 256)) for i in range(256)]
ODDS_TABLE = [round(65536 / (1 + 2 ** (-(i - 60) / 4))) for i in range(121)]
RATES = [2**23 // (2 * i + 3) for i in range(256)]


def log2(x):
    place, bits = fraction(x)
    return 256 * place + ROUNDED[bits]


def log(x):
    place, bits = fraction(x)
    return 256 * place + bits


def power(x):
    x = clamp(x, 0, 11775)
    return (256 + (x & 255)) << (x >> 8) >> 8


def stretch(p):
    return clamp(log2(max(p, 1)) - log2(max(2**32 - 1 - p, 1)), -3839, 3839)


def squash(x):
    y = clamp(x, -3839, 3839) + 3840
    i = y >> 6
    return ODDS_TABLE[i] + ((ODDS_TABLE[i + 1] - ODDS_TABLE[i]) * (y & 63) >> 6)


class Counter:
    def __init__(self, p, n, limit):
        self.p, self.n, self.limit = p, n, limit

    def learn(self, bit):
        shift = 0 if self.n < 256 else 4 if self.n < 4096 else 8
        self.p += ((2**32 - 1 if bit else 0) - self.p) * (RATES[self.n >> shift] >> shift) >> 22
        self.n = min(self.n + 1, self.limit)

    def chance(self):
        return clamp(self.p >> 17, 4, 32764)


# Section 8.
def expand(data, length):
    coder, tables = RangeDecoder(data), [{} for _ in range(4)]
    weights, before, text = [[49152] * 4 for _ in range(8)], 0, bytearray()
    for _ in range(length):
        node = 1
        for place in range(7, -1, -1):
            counters = []
            for order, table in enumerate(tables):
                mixed = (4 * (before & (1 << 8 * order) - 1) + order) * 0x9E3779B1 & 0xFFFFFFFF
                mixed ^= node * 0x85EBCA6B & 0xFFFFFFFF
                index = ((mixed ^ mixed >> 15) * 0x2C1B3C6D & 0xFFFFFFFF) >> 16 & 8191
                counters.append(table.setdefault(index, Counter(2**31, 0, 60)))
            inputs = [stretch(counter.p) for counter in counters]
            p = clamp(squash(clamp(sum(w * x for w, x in zip(weights[place], inputs)) >> 16, -3839, 3839)), 4, 65532)
            bit = coder.bit(p)
            weights[place] = [
                clamp(w + (x * (65536 * bit - p) + (1 << 12) >> 13), -(2**20), 2**20)
                for w, x in zip(weights[place], inputs)
            ]
            for counter in counters:
                counter.learn(bit)
            node = node << 1 | bit
        text.append(node & 255)
        before = (before << 8 | node & 255) & 0xFFFFFFFF
    return Bytes(bytes(text))


# Section 3: how to get over the attributes of each operator. s: size, b: byte, f: float, l: list.
ATTRIBUTES = {0: "s" * 11, 1: "f", 2: "", 3: "", 6: "s", 7: "s" * 10 + "b", 8: "s" * 10 + "bb", 9: "blb", 10: "sf"}
ATTRIBUTES |= {11: "l", 12: "l", 13: "s", 14: "sl", 17: "l", 18: "ssffbb", 19: "sll", 20: ""}


def skip_operator(source):
    tag = source.byte()
    fields = ATTRIBUTES.get(tag, "")
    if tag == 4:
        fields = {1: "ff", 2: "f", 3: "f", 5: "ff"}.get(source.byte(), "")
    elif tag == 5:
        fields = "b"
    elif tag == 15:
        fields = "ssss" * source.number()
    elif tag == 16:
        fields = "ss" * source.number()
    else:
        assert tag in ATTRIBUTES, f"operator {tag} is not known"
    for field in fields:
        {"s": source.number, "b": source.byte, "f": source.float, "l": source.list}[field]()
    if tag == 16 and source.byte() == 0:
        source.float()


# Section 2.
def parameters(source):
    """Names and shapes of the tensors, in their order."""
    source.string()
    for _ in range(source.number()):
        source.string(), source.list()
    found = []
    for _ in range(source.number()):
        skip_operator(source)
        for _ in range(source.number()):
            if source.number() == 0:
                found.append((source.string(), [size >> 1 for size in source.list()]))
        source.number()
    return found


# Section 9.
class States:
    def __init__(self, data, numbers):
        self.two = numbers >= 2048
        count = 2 if self.two else 1
        self.states = [self.first()] * count
        if data:
            self.states = list(struct.unpack(f"<{count}I", data[: 4 * count].ljust(4 * count, b"\0")))
        self.words = [int.from_bytes(data[i : i + 2], "little") for i in range(4 * count, len(data), 2)]
        self.words.reverse()

    def first(self):
        return 1 << 16 if self.two else 1

    def is_complete(self):
        return not self.words and all(state == self.first() for state in self.states)

    def place(self, lane):
        return self.states[lane % len(self.states)] & 32767

    def take(self, lane, start, length):
        state = self.states[lane % len(self.states)]
        state = length * (state >> 15) + (state & 32767) - start
        if state < 1 << 16 and self.words:
            state = state << 16 | self.words.pop()
        self.states[lane % len(self.states)] = state

    def bit(self, lane, counter, learns=True):
        p = counter.chance()
        bit = self.place(lane) < p
        self.take(lane, *((0, p) if bit else (p, 32768 - p)))
        if learns:
            counter.learn(bit)
        return int(bit)

    def plain(self, lane, count):
        value = 0
        while count > 0:
            few = min(count, 8)
            part = self.place(lane) >> 15 - few
            self.take(lane, part << 15 - few, 1 << 15 - few)
            value, count = value << few | part, count - few
        return value

    def symbol(self, lane, ends):
        place = self.place(lane)
        symbol = next(symbol for symbol, end in enumerate(ends) if place < end)
        start = ends[symbol - 1] if symbol else 0
        self.take(lane, start, ends[symbol] - start)
        return symbol


# Section 10.
ODDS = [13, 19, 28, 51, 90, 154, 256, 256, 16, 16, 16, 16]
AGREE = [128, 205, 230, 243, 248, 250, 251, 251, 128, 128, 128, 128]
LAPLACE = [0, 0, 0, 1, 2, 9, 36, 143, 566, 2155, 7282, 18771, 34046, 44045, 49296]


class Cells:
    """Distributions of symbols by cell, and the layer's magnitudes, which their priors follow."""

    def __init__(self, sparse):
        self.sparse, self.counts, self.nexts, self.ends = sparse, {}, {}, {}
        self.at_least, self.exceed = [0] * 9, [26214] * 8

    def prior(self, cell):
        step, tendency = divmod(cell, 12)
        middle = 256 * step - 2944 if step <= 12 else (320, 448)[step - 13]
        exceed = [clamp(max(exceed, LAPLACE[step]), 1311, 58982) for exceed in self.exceed[1:]]
        size = share = 65536
        for x in exceed:
            share = share * x >> 16
            size += share
        odds = 5 * power(middle + 4096) * ODDS[tendency]
        least = (65536, 32768, 21845, 10922)[tendency - 8] if self.sparse and tendency >= 8 else 0
        nonzero = clamp(max((odds << 16) // (odds + 32 * size), least), 32, 65500)
        weights, rest = [65536 - nonzero << 8], nonzero << 8
        for x in exceed:
            beyond = rest * x >> 16
            agreeing = (rest - beyond) * AGREE[tendency] >> 8
            weights += [agreeing, rest - beyond - agreeing]
            rest = beyond
        return weights + [rest]

    def compute(self, cell):
        counts = self.counts.setdefault(cell, [0] * 16)
        if sum(counts) >= 4096:
            counts[:] = [count // 2 for count in counts]
        total = sum(counts)
        self.nexts[cell] = total + 1 + total // 4
        even = cell % 12 == 0 or cell % 12 >= 8
        factor, sums, ends = (32752 << 32) // (2**24 + (total << 19)), 0, []
        for symbol, weight in enumerate(self.prior(cell)[:15]):
            other = (symbol - 1 ^ 1) + 1 if even and symbol else symbol
            sums += weight + (counts[symbol] + counts[other] << 18)
            ends.append((sums * factor >> 32) + symbol + 1)
        self.ends[cell] = ends + [32768]

    def learn(self, batch):
        """From cells and symbols, in order."""
        for cell, symbol in batch:
            self.counts[cell][symbol] += 1
            if sum(self.counts[cell]) >= self.nexts[cell]:
                self.compute(cell)
        for _, symbol in batch:
            for magnitude in range(1, (symbol + 1 >> 1) + 1):
                self.at_least[magnitude] += 1
        for k in range(1, 8):
            self.exceed[k] = ((self.at_least[k + 1] << 16) + 8 * 26214) // (self.at_least[k] + 8)


class Foretelling:
    """The regression of each tap on those before it."""

    def __init__(self, taps):
        self.taps = taps if 2 <= taps <= 25 else 0
        self.sums = [[0] * self.taps for _ in range(self.taps)]
        self.factors = [[0] * self.taps for _ in range(self.taps)]
        self.kernels, self.next = 0, 8

    def predict(self, tap, codes):
        """What the codes of a kernel before a tap say of it."""
        prediction = 0
        for before in range(tap if self.taps else 0):
            product = self.factors[before][tap] * clamp(codes[before], -127, 127)
            prediction = clamp(prediction + product, -(2**15), 2**15 - 1)
        return prediction

    def learn(self, kernels, levels):
        if not self.taps or self.kernels >= 4096:
            return
        self.kernels += len(kernels)
        for codes, level in zip(kernels, levels):
            scale = power(3072 - max(level, -1024))
            sizes = [clamp(clamp(code, -127, 127) * scale >> 8, -511, 511) for code in codes]
            for t, size in enumerate(sizes):
                for u in range(t + 1):
                    self.sums[t][u] += size * sizes[u]
        if self.kernels >= self.next:
            while self.kernels >= self.next:
                self.next += -(-self.next // 2)
            self.fit()

    def fit(self):
        taps = range(self.taps)
        lower, pivots = [[0] * self.taps for _ in taps], [0] * self.taps
        for t in taps:
            for u in range(t + 1):
                known = sum((lower[t][k] * lower[u][k] >> 20) * pivots[k] >> 20 for k in range(u))
                rest = self.sums[t][u] - known
                if u == t:
                    pivots[t] = max(rest + 28 * 256, 1)
                else:
                    quotient = (abs(rest) << 20) // pivots[u]
                    lower[t][u] = clamp(quotient if rest >= 0 else -quotient, -(2**26), 2**26)
        for t in taps:
            inverse = [0] * self.taps
            inverse[t] = 2**20
            for u in range(t - 1, -1, -1):
                sums = sum(inverse[k] * lower[k][u] >> 20 for k in range(u + 1, t + 1))
                inverse[u] = clamp(-sums, -(2**22), 2**22)
                self.factors[u][t] = clamp(-inverse[u] >> 14, -128, 128)


class CodeReader:
    def __init__(self, coder, shape):
        self.rows, self.columns, *taps = [1] * (2 - len(shape)) + shape if len(shape) < 2 else shape
        self.coder, self.taps = coder, math.prod(taps)
        if self.taps > 64:
            self.columns, self.taps = self.columns * self.taps, 1
        mean, self.sparse = coder.plain(0, 7), coder.plain(0, 1)
        self.start = power(128 * (mean - 40) + 2560)
        self.row_empty = Counter((2**32 - 1) // 10, 2, 255)
        first = [min(power(128 * step + 64 + 1024), 63000) << 16 for step in range(28)]
        self.kernel_full = [Counter(p, 2, 511) for p in first for _ in range(2)]
        self.lows = [Counter(2**31, 2, 255) for _ in range(2)]
        self.classes = [Counter(2**31, 2, 255) for _ in range(32)]
        self.full, self.full_rows, self.full_in = 0, 0, [0] * self.columns
        self.above = [0] * self.columns
        self.total, self.in_columns, self.at_taps = 0, [0] * self.columns, [0] * self.taps
        self.cells, self.foretelling = Cells(self.sparse), Foretelling(self.taps)

    def read(self):
        codes = []
        for row in range(self.rows):
            kernels = [[0] * self.taps for _ in range(self.columns)]
            if self.sparse and self.coder.bit(0, self.row_empty):
                self.above = [0] * self.columns
            else:
                self.read_row(row, kernels)
            codes += [code for kernel in kernels for code in kernel]
        return codes

    def read_row(self, row, kernels):
        places = row * self.columns
        mean = max((64 * self.start + 1024 * self.total) // (64 + places * self.taps), 1)
        level = log(mean) - 2560
        taps = [log(1024 * sums + 392 * mean) - log(places + 392) - 2560 - level for sums in self.at_taps]
        taps = [clamp(tap, -7680, 7680) for tap in taps]
        divisor = log(row * self.taps + 80)
        full = self.read_full() if self.sparse else list(range(self.columns))
        in_row = 0
        for first in range(0, len(full), 16):
            columns = full[first : first + 16]
            base = log(1024 * in_row + 120 * mean) - log(columns[0] * self.taps + 120) - level
            sums = [log(1024 * self.in_columns[i] + 80 * mean) - divisor - 5120 for i in columns]
            levels = [clamp(base + column, -7680, 7680) for column in sums]
            batch = self.read_batch(levels, taps)
            for i, codes in zip(columns, batch):
                kernels[i][:] = codes
                sizes = [min(abs(code), 2**20) for code in codes]
                in_row += sum(sizes)
                self.in_columns[i] = min(self.in_columns[i] + sum(sizes), 2**32 - 1)
                self.at_taps = [old + size for old, size in zip(self.at_taps, sizes)]
            self.foretelling.learn(batch, levels)
        self.total += in_row
        self.full_rows += 1

    def read_full(self):
        """Columns whose kernels are not empty."""
        start = 8 * clamp(self.start * self.taps, 1, 960)
        share = max((1024 * self.full + start) // (self.full_rows * self.columns + 8), 1)
        found = []
        for first in range(0, self.columns, 16):
            columns = range(first, min(first + 16, self.columns))
            in_row = log(1024 * len(found) + 16 * share) - log(first + 16) - log(share)
            counters = []
            for i in columns:
                x = in_row + log(1024 * self.full_in[i] + 16 * share) - log(self.full_rows + 16) - 2560
                counters.append(self.kernel_full[2 * (clamp(x, -3072, 511) + 3072 >> 7) + self.above[i]])
            flags = [self.coder.bit(lane, counter, learns=False) for lane, counter in enumerate(counters)]
            for i, counter, flag in zip(columns, counters, flags):
                counter.learn(flag)
                self.full_in[i] += flag
                self.above[i] = flag
            found += [i for i, flag in zip(columns, flags) if flag]
        self.full += len(found)
        return found

    def read_batch(self, levels, taps):
        lanes = range(len(levels))
        coarse = [max(level - 1024, 0) >> 8 for level in levels]
        means = [3 * min(power(level - 256 * bits + 2560), 2**20) for level, bits in zip(levels, coarse)]
        sums, codes, seen = [0] * len(levels), [[] for _ in lanes], []
        for t in range(self.taps):
            contexts = []
            for k in lanes:
                so_far = log(1024 * sums[k] + means[k]) + 256 * coarse[k] - log(t + 3) - 2560
                contexts.append(self.context(t, (levels[k] + so_far >> 1) + taps[t], sums[k], codes[k]))
            for cell, _, _ in contexts:
                if cell not in self.cells.ends:
                    self.cells.compute(cell)
            symbols = [self.coder.symbol(k, self.cells.ends[contexts[k][0]]) for k in lanes]
            for k in lanes:
                _, negate, shift = contexts[k]
                code = self.read_rest(k, symbols[k], shift)
                codes[k].append(-code if negate else code)
                sums[k] = min(sums[k] + min(abs(code) >> coarse[k], 8191), 8191)
            seen += [(contexts[k][0], symbols[k]) for k in lanes]
        self.cells.learn(seen)
        return codes

    def context(self, tap, level, total, codes):
        prediction = self.foretelling.predict(tap, codes)
        left = self.taps - 1 - tap
        if total > 0:
            size = (log(abs(prediction) | 1) >> 8) - 6
            tendency = clamp(size - (max(level, -85) >> 8) + 2, 0, 7)
        elif self.sparse:
            tendency = (8, 9, 10, 10, 11)[min(left, 4)]
        else:
            tendency = 11
        shift = clamp(level - 256 >> 8, 0, 24)
        level = clamp(level - 256 * shift, -3072, 511)
        cell = 12 * ((level + 3072 >> 8) + (level >= 384)) + tendency
        return cell, prediction < 0 and 1 <= tendency <= 7, shift

    def read_rest(self, lane, symbol, shift):
        high, low = symbol + 1 >> 1, 0
        if symbol == 15:
            bits = 0
            while bits < 31 and self.coder.bit(lane, self.classes[bits]):
                bits += 1
            high = 8 + (1 << bits | self.coder.plain(lane, bits)) - 1
        if shift:
            low = self.coder.bit(lane, self.lows[high == 0]) << shift - 1
            low |= self.coder.plain(lane, shift - 1)
        magnitude = high << shift | low
        negative = symbol % 2 == 0
        if symbol == 15 or symbol == 0 and magnitude:
            negative = self.coder.plain(lane, 1)
        return -magnitude if negative else magnitude


def read_codes(coder, shape):
    return CodeReader(coder, shape).read() if math.prod(shape) else []


# Section 5.
def on_grid(code):
    """`2^(code / 32)` of which the fraction was rounded to float."""
    octave, part = divmod(code, 32)
    (rounded,) = struct.unpack("<f", struct.pack("<f", 2 ** (part / 32)))
    return math.ldexp(rounded, octave)


def read_tensor(data, shape):
    """What the tensor stands for, and its codes, if it has any."""
    source, count = Bytes(data), math.prod(shape)
    kind = source.byte()
    if kind in (0, 5):
        return list(struct.unpack(f"<{count}{'f' if kind == 0 else 'e'}", source.rest())), None
    scales = shape[0] if kind in (2, 4) and shape else 1
    if kind in (3, 4):
        factors = [source.float() for _ in range(scales)]
    coder = States(source.rest(), count)
    if kind in (1, 2):
        mean = coder.plain(0, 13) - 4096
        factors = [on_grid(mean + code) for code in (read_codes(coder, [scales]) if scales > 1 else [0])]
    codes = read_codes(coder, shape)
    assert coder.is_complete(), "the codes do not end where they should"
    each = max(count // scales, 1)
    return [code * factors[i // each] for i, code in enumerate(codes)], codes


# Section 1.
def read_file(data):
    """Name, shape, bytes, numbers and codes of each tensor."""
    source = Bytes(data)
    assert source.take(5) == b"GAUNT" and source.byte() == 3, "this is no .gaunt file of version 3"
    count = source.number()
    head = Bytes(source.take(source.number()))
    head = expand(length=head.number(), data=head.rest())
    graph_plain, graph_packed, metadata_plain, metadata_packed = (head.number() for _ in range(4))
    lengths = [head.number() for _ in range(count)]
    graph = expand(source.take(graph_packed), graph_plain)
    source.take(metadata_packed)
    checked = source.data[: source.at]
    assert zlib.crc32(checked) == int.from_bytes(source.take(4), "little"), "the description is damaged"
    tensors = [source.take(length) for length in lengths]
    assert zlib.crc32(b"".join(tensors)) == int.from_bytes(source.take(4), "little"), "the tensors are damaged"
    for (name, shape), tensor in zip(parameters(graph), tensors):
        yield name, shape, len(tensor), *read_tensor(tensor, shape)


def write_npy(path, kind, shape, numbers):
    sizes = "".join(f"{size}," for size in shape)
    header = f"{{'descr': '<{kind}4', 'fortran_order': False, 'shape': ({sizes}), }}".ljust(117) + "\n"
    packed = struct.pack(f"<{len(numbers)}{'f' if kind == 'f' else 'i'}", *numbers)
    path.write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode() + packed)


def main():
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    for name, shape, length, numbers, codes in read_file(pathlib.Path(sys.argv[1]).read_bytes()):
        nonzero = sum(1 for code in codes or numbers if code)
        print(f"{name:40} {'x'.join(map(str, shape)):>14} {length:9} bytes {nonzero:9} of {len(numbers)} not zero")
        if folder:
            write_npy(folder / f"{name}.npy", "f", shape, numbers)
            if codes is not None:
                write_npy(folder / f"{name}.codes.npy", "i", shape, codes)


main()
