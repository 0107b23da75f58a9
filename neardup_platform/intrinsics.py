"""Processor instructions that the compiled loops need and numba does not offer."""

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def popcount(_context: Any, _word: Any) -> Any:
    """The number of set bits of a 64-bit word: LLVM's ctpop, which becomes VPOPCNTQ on processors that have it."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)]), [arguments[0]])

    return types.uint64(types.uint64), generate


@intrinsic
def prefetch(_context: Any, rows: Any, _row: Any, _column: Any) -> Any:
    """Prefetch a word of a matrix: the rows to visit are far apart, and memory serves requests in parallel."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, arguments[0])
        word = cgutils.get_item_pointer(context, builder, kind, array, arguments[1:], wraparound=False)
        address = builder.bitcast(word, ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        form = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [address.type], form)
        builder.call(fetch, [address, *(ir.Constant(number, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(rows, types.uint64, types.uint64), generate


@intrinsic
def single_of_half(_context: Any, _bits: Any) -> Any:
    """Convert a finite float16, given as its 16 bits, to float32; exact for subnormal numbers too.

    Sign, exponent and fraction move to their places in float32; multiplying by 2^(127−15) then corrects the exponent's
    bias. Every step is a vector instruction on any processor, whether or not it supports float16.
    """

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        wide = builder.zext(arguments[0], word)
        sign = builder.shl(builder.and_(wide, word(0x8000)), word(16))
        rest = builder.shl(builder.and_(wide, word(0x7FFF)), word(13))
        biased = builder.bitcast(builder.or_(sign, rest), ir.FloatType())
        return builder.fmul(biased, ir.Constant(ir.FloatType(), 2.0**112))

    return types.float32(types.uint16), generate


# Entries that `expand` converts: two vectors of AVX-512.
EXPANDED = 32


@intrinsic
def expand(_context: Any, rows: Any, _row: Any, _at: Any, _scale: Any, out: Any, _first: Any) -> Any:
    """Convert `EXPANDED` bytes: out[first + d] = q·|q|·scale, where q is the signed byte rows[row, at + d].

    Written as a loop, it compiles to a third of the speed: stores between loads keep LLVM from using whole vectors.

    Arguments: uint8 matrix in C order, row, column, float32, float32 vector, first entry. Nothing is checked.
    """
    number, numbers = types.uint64, [ir.IntType(8), ir.IntType(32), ir.FloatType()]
    bytes_, words, singles = (ir.VectorType(kind, EXPANDED) for kind in numbers)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pointer(which: int, place: tuple[Any, ...], vector: Any) -> Any:
            kind = signature.args[which]
            array = context.make_array(kind)(context, builder, arguments[which])
            address = cgutils.get_item_pointer(context, builder, kind, array, place, wraparound=False)
            return builder.bitcast(address, vector.as_pointer())

        _, row, at, scale, _, first = arguments
        steps = builder.load(pointer(0, (row, at), bytes_), align=1)
        q = builder.sitofp(builder.sext(steps, words), singles)
        form, name = ir.FunctionType(singles, [singles]), f"llvm.fabs.v{EXPANDED}f32"
        size = builder.call(cgutils.get_or_insert_function(builder.module, form, name), [q])
        undefined = ir.Constant(singles, ir.Undefined)
        one = builder.insert_element(undefined, scale, ir.IntType(32)(0))
        scales = builder.shuffle_vector(one, undefined, ir.Constant(words, [0] * EXPANDED))
        values = builder.fmul(builder.fmul(q, size), scales)
        builder.store(values, pointer(4, (first,), singles), align=4)
        return context.get_dummy_value()

    return types.void(rows, number, number, types.float32, out, number), generate


# Columns of a tile, one vector of AVX-512 or two of AVX2; and rows, as many as leave no register unused.
TILE_COLUMNS = 16
TILE_ROWS = 24 if get_host_cpu_features().get("avx512f", False) else 6


@intrinsic
def add_product(_context: Any, out: Any, _to: Any, x: Any, _row: Any, kernel: Any, _at: Any, _terms: Any) -> Any:
    """Add a product of matrices to a tile: out[r, to + c] += Σ x[r, row + d] · kernel[at + d, c], d from 0 to `terms`.

    The tile has `TILE_ROWS` rows and `TILE_COLUMNS` columns, and stays in registers. Every entry is summed in the order
    of d, each product fused with its addition, so that it depends neither on the rest of the tile nor on the processor.

    Arguments: float32 matrices in C order; `out` from column `to`, `x` from column `row`, `kernel` from row `at`, whose
    first `TILE_COLUMNS` columns are read; at least one term. Nothing is checked.
    """
    single, word = ir.FloatType(), ir.IntType(64)
    vector = ir.VectorType(single, TILE_COLUMNS)
    same = ir.Constant(ir.VectorType(ir.IntType(32), TILE_COLUMNS), [0] * TILE_COLUMNS)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pointer(matrix: int, row: Any, column: Any) -> Any:
            kind = signature.args[matrix]
            array = context.make_array(kind)(context, builder, arguments[matrix])
            return cgutils.get_item_pointer(context, builder, kind, array, (row, column), wraparound=False)

        def load(address: Any) -> Any:
            return builder.load(builder.bitcast(address, vector.as_pointer()), align=4)

        def spread(number: Any) -> Any:
            undefined = ir.Constant(vector, ir.Undefined)
            first = builder.insert_element(undefined, number, ir.IntType(32)(0))
            return builder.shuffle_vector(first, undefined, same)

        _, to, _, first, _, at, terms = arguments
        rows = range(TILE_ROWS)
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{TILE_COLUMNS}f32"
        )
        tile = [pointer(0, word(row), to) for row in rows]
        left = [pointer(2, word(row), first) for row in rows]
        before = [load(address) for address in tile]
        begin, loop = builder.block, builder.append_basic_block("product")
        end = builder.append_basic_block("product.end")
        builder.branch(loop)
        builder.position_at_end(loop)
        d = builder.phi(word)
        sums = [builder.phi(vector) for _ in rows]
        columns = load(pointer(4, builder.add(at, d), word(0)))
        after = [
            builder.call(fused, [spread(builder.load(builder.gep(left[row], [d]))), columns, sums[row]]) for row in rows
        ]
        following = builder.add(d, word(1))
        for variable, start, next_value in [(d, word(0), following), *zip(sums, before, after, strict=True)]:
            variable.add_incoming(start, begin)
            variable.add_incoming(next_value, loop)
        builder.cbranch(builder.icmp_unsigned("<", following, terms), loop, end)
        builder.position_at_end(end)
        for address, value in zip(tile, after, strict=True):
            builder.store(value, builder.bitcast(address, vector.as_pointer()), align=4)
        return context.get_dummy_value()

    number = types.uint64
    return types.void(out, number, x, number, kernel, number, number), generate
