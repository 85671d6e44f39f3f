"""Payloads of DUMP, made by hand: what older Redis versions wrote, and what nobody would.

    rdb.payload(rdb.HASH_ZIPLIST, rdb.string(rdb.ziplist([b'f', b'v'])), version=6)
"""
import struct

STRING, LIST, SET, ZSET, HASH, ZSET_2 = 0, 1, 2, 3, 4, 5
HASH_ZIPMAP, LIST_ZIPLIST, SET_INTSET, ZSET_ZIPLIST, HASH_ZIPLIST, LIST_QUICKLIST = 9, 10, 11, 12, 13, 14
HASH_LISTPACK, ZSET_LISTPACK, LIST_QUICKLIST_2, SET_LISTPACK = 16, 17, 18, 20
HASH_METADATA, HASH_LISTPACK_EX = 24, 25


def _table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x95ac9329ac4bc9b5 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _table()


def crc64(data):
    """The checksum at the end of a payload."""
    crc = 0
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    return crc


def payload(kind, value, version=10):
    """A whole payload."""
    return seal(bytes([kind]) + value, version)


def seal(body, version=10):
    """Version and checksum behind it."""
    body += struct.pack('<H', version)
    return body + struct.pack('<Q', crc64(body))


def length(n):
    """A length."""
    if n < 64:
        return bytes([n])
    if n < 16384:
        return struct.pack('>H', 0x4000 | n)
    return b'\x80' + struct.pack('>I', n) if n < 2**32 else b'\x81' + struct.pack('>Q', n)


def string(data):
    """A string as it is."""
    return length(len(data)) + data


def integer(n, size):
    """A string as an integer of 1, 2 or 4 bytes."""
    return bytes([0xc0 | {1: 0, 2: 1, 4: 2}[size]]) + n.to_bytes(size, 'little', signed=True)


def lzf(data, plain):
    """A string of `plain` bytes, compressed to data."""
    return b'\xc3' + length(len(data)) + length(plain) + data


def strings(items):
    """Many, with their number."""
    return length(len(items)) + b''.join(string(x) for x in items)


def score(text):
    """A score of a sorted set of type 3."""
    special = {b'nan': 253, b'inf': 254, b'-inf': 255}
    return bytes([special[text]]) if text in special else bytes([len(text)]) + text


def _number(x):
    """x as an integer, where it is one that text can be kept as."""
    try:
        n = int(x)
    except ValueError:
        return None
    return n if str(n).encode() == x and -2**63 <= n < 2**63 else None


def listpack(entries):
    """Entries: bytes; numbers are kept as such."""
    body = b''
    for x in entries:
        n = _number(x)
        if n is None:
            size = len(x)
            entry = (bytes([0x80 | size]) if size < 64 else struct.pack('>H', 0xe000 | size) if size < 4096
                     else b'\xf0' + struct.pack('<I', size)) + x
        elif 0 <= n <= 127:
            entry = bytes([n])
        elif -4096 <= n <= 4095:
            entry = struct.pack('>H', 0xc000 | n & 0x1fff)
        else:
            size, head = next((s, h) for s, h in ((2, 0xf1), (3, 0xf2), (4, 0xf3), (8, 0xf4))
                              if -2**(8 * s - 1) <= n < 2**(8 * s - 1))
            entry = bytes([head]) + n.to_bytes(size, 'little', signed=True)
        n = len(entry)
        seven = 1 if n <= 127 else 2 if n < 16383 else 3 if n < 2097151 else 4
        body += entry + bytes((n >> 7 * (seven - 1 - i) & 127) | (128 if i else 0) for i in range(seven))
    count = min(len(entries), 65535)
    return struct.pack('<IH', len(body) + 7, count) + body + b'\xff'


def ziplist(entries):
    """The same as a ziplist."""
    body, before, tail = b'', 0, 10
    for x in entries:
        n = _number(x)
        if n is None:
            size = len(x)
            entry = (bytes([size]) if size < 64 else struct.pack('>H', 0x4000 | size) if size < 16384
                     else b'\x80' + struct.pack('>I', size)) + x
        elif 0 <= n <= 12:
            entry = bytes([0xf1 + n])
        else:
            size, head = next((s, h) for s, h in ((1, 0xfe), (2, 0xc0), (3, 0xf0), (4, 0xd0), (8, 0xe0))
                              if -2**(8 * s - 1) <= n < 2**(8 * s - 1))
            entry = bytes([head]) + n.to_bytes(size, 'little', signed=True)
        entry = (bytes([before]) if before < 254 else b'\xfe' + struct.pack('<I', before)) + entry
        tail = 10 + len(body)
        before = len(entry)
        body += entry
    return struct.pack('<IIH', len(body) + 11, tail, min(len(entries), 65535)) + body + b'\xff'


def intset(numbers, size):
    """Numbers of 2, 4 or 8 bytes each."""
    return struct.pack('<II', size, len(numbers)) + b''.join(n.to_bytes(size, 'little', signed=True) for n in numbers)


def zipmap(pairs, unused=0):
    """Fields and values, with unused bytes behind each value."""
    def head(n):
        return bytes([n]) if n < 254 else b'\xfe' + struct.pack('<I', n)
    body = b''.join(head(len(f)) + f + head(len(v)) + bytes([unused]) + v + b'x' * unused for f, v in pairs)
    return bytes([min(len(pairs), 254)]) + body + b'\xff'
