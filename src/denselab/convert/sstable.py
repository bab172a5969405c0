"""Sorted string tables as LevelDB writes them: the index file of a TensorFlow checkpoint.

Format (leveldb/doc/table_format.md): blocks of entries whose keys share a prefix with the key before, each block
followed by a byte for its compression and a masked CRC-32C; an index block; a footer of 48 bytes that ends in a magic
number.
"""

from collections.abc import Iterator

from denselab.convert.checksum import crc32c, masked
from denselab.wire import Damaged, varint

FOOTER_BYTES = 48
MAGIC = 0xDB4775248B80FB57
TRAILER_BYTES = 5  # compression, CRC-32C
MAX_KEY_BYTES = 4096


def table_entries(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """(key, value) of a whole table, by rising key. Raises Damaged."""
    if len(data) < FOOTER_BYTES or int.from_bytes(data[-8:], "little") != MAGIC:
        raise Damaged("the magic number at its end is missing")
    footer = data[-FOOTER_BYTES:-8]
    _, at = _handle(footer, 0)  # the meta index: filters, which these tables do not have
    index, _ = _handle(footer, at)
    for _, value in _block_entries(_block(data, index)):
        handle, _ = _handle(value, 0)
        yield from _block_entries(_block(data, handle))


def _handle(data: memoryview, at: int) -> tuple[tuple[int, int], int]:
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def _block(data: memoryview, handle: tuple[int, int]) -> memoryview:
    """The entries of a block, without its restart points. Raises Damaged if its checksum is wrong."""
    offset, size = handle
    if size < 4 or offset + size + TRAILER_BYTES > len(data):
        raise Damaged(f"a block of {size} bytes at {offset} does not fit into {len(data)} bytes")
    content = data[offset : offset + size]
    compression = data[offset + size]
    if compression != 0:
        raise Damaged(f"a block is compressed (kind {compression}); TensorFlow writes its checkpoints uncompressed")
    stored = int.from_bytes(data[offset + size + 1 : offset + size + TRAILER_BYTES], "little")
    if stored != masked(crc32c(data[offset : offset + size + 1])):
        raise Damaged(f"the checksum of the block at byte {offset} is wrong")
    restarts = int.from_bytes(content[-4:], "little")
    if 4 * (restarts + 1) > size:
        raise Damaged(f"a block of {size} bytes claims {restarts} restart points")
    return content[: size - 4 * (restarts + 1)]


def _block_entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at, key = 0, b""
    while at < len(block):
        shared, at = varint(block, at)
        rest, at = varint(block, at)
        size, at = varint(block, at)
        if shared > len(key) or shared + rest > MAX_KEY_BYTES or rest + size > len(block) - at:
            raise Damaged("an entry of a block reaches beyond it")
        key = key[:shared] + bytes(block[at : at + rest])
        yield key, block[at + rest : at + rest + size]
        at += rest + size
