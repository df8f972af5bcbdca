"""Pictures in every format, depth and orientation, and what the reference makes of them.

    python pictures.py OUT_FOLDER

writes pictures.safetensors.gz: for each name, "NAME bytes" (the encoded picture, U8) and "NAME rgb"
(U8 [height, width, 3]): datasets.Image().decode_example, then Pillow's convert("RGB") as
transformers does it. Where the reference refuses a picture there is no "NAME rgb".
Made with pillow 12.3, datasets 5.0.1, safetensors 0.6; seeded, the same bytes on every run.
"""

import gzip
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from datasets import Image as ImageFeature
from PIL import Image
from safetensors.numpy import save

RNG = np.random.default_rng(17)
PICTURES = {}


def photo(width, height, channels=3):
    """Smooth colours with edges and some noise, so that every step of a codec has work to do."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        127 + 90 * np.sin((x * (2 + c) + y * (3 - c)) / (6 + c)) + 30 * ((x // 5 + y // 4 + c) % 2)
        for c in range(channels)
    ]
    noisy = np.stack(planes, -1) + RNG.normal(0, 8, (height, width, channels))
    values = np.clip(noisy, 0, 255).astype(np.uint8)
    return values[..., 0] if channels == 1 else values


def image(mode, width, height):
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    return Image.fromarray(photo(width, height, channels), mode)


def palette(width, height, colours=256):
    picture = Image.fromarray((photo(width, height, 1).astype(int) * colours // 256).astype(np.uint8), "P")
    picture.putpalette(RNG.integers(0, 256, 3 * colours, np.uint8).tobytes())
    return picture


def saved(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def add(name, data):
    PICTURES[name] = bytes(data)


def exif(orientation, order="<", kind=3):
    head = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + ("H2x" if kind == 3 else "I"), orientation)
    return b"Exif\0\0" + head + struct.pack(order + "IHHHI", 8, 1, 0x112, kind, 1) + value + bytes(4)


def xmp(orientation):
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="%d"/></x:xmpmeta>' % orientation


def segment(marker, body):
    return struct.pack(">HH", marker, len(body) + 2) + body


def after_start(jpeg, *segments):
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def frame_at(jpeg):
    at = 2
    while jpeg[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
    return at


def sampled(jpeg, factors):
    """The same blocks with other sampling factors of the first component."""
    changed = bytearray(jpeg)
    changed[frame_at(jpeg) + 11] = factors
    return changed


def jpegs():
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        for size in ((33, 27), (16, 16), (5, 3)):
            name = f"jpeg/{subsampling.replace(':', '')} {size[0]}x{size[1]}"
            add(name, saved(image("RGB", *size), "JPEG", subsampling=subsampling, quality=80))
    add("jpeg/440 32x32", sampled(saved(image("RGB", 32, 32), "JPEG", subsampling="4:2:2"), 0x12))
    add("jpeg/411 32x32", sampled(saved(image("RGB", 32, 32), "JPEG", subsampling="4:2:0"), 0x41))
    odd = bytearray(sampled(saved(image("RGB", 32, 32), "JPEG", subsampling="4:2:2"), 0x12))
    at = frame_at(odd)
    odd[at + 5 : at + 9] = struct.pack(">HH", 29, 27)
    add("jpeg/440 27x29", odd)
    add("jpeg/440 progressive", sampled(saved(image("RGB", 32, 32), "JPEG", subsampling="4:2:2", progressive=True), 0x12))
    add("jpeg/grey", saved(image("L", 21, 18), "JPEG"))
    add("jpeg/progressive", saved(image("RGB", 37, 25), "JPEG", progressive=True, quality=60))
    add("jpeg/progressive grey", saved(image("L", 19, 23), "JPEG", progressive=True))
    add("jpeg/quality 5", saved(image("RGB", 40, 24), "JPEG", quality=5))
    add("jpeg/restart", saved(image("RGB", 50, 20), "JPEG", restart_marker_blocks=1))
    add("jpeg/1x1", saved(image("RGB", 1, 1), "JPEG"))
    add("jpeg/rgb adobe", saved(image("RGB", 20, 15), "JPEG", keep_rgb=True))
    cmyk = saved(image("CMYK", 26, 19), "JPEG", quality=85)
    add("jpeg/cmyk adobe", cmyk)
    at = cmyk.index(b"Adobe") - 4
    length = struct.unpack(">H", cmyk[at + 2 : at + 4])[0]
    add("jpeg/cmyk plain", cmyk[:at] + cmyk[at + 2 + length :])
    ycck = bytearray(cmyk)
    ycck[at + 4 + 11] = 2
    add("jpeg/ycck", ycck)
    add("jpeg/ycck progressive", bytearray(saved(image("CMYK", 26, 19), "JPEG", progressive=True)).replace(
        b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"))
    subsampled = bytearray(saved(image("CMYK", 32, 32), "JPEG", subsampling="4:2:0"))
    add("jpeg/cmyk 420", subsampled)
    subsampled = bytearray(subsampled)
    subsampled[subsampled.index(b"Adobe") + 11] = 2
    add("jpeg/ycck 420", subsampled)
    plain = saved(image("RGB", 11, 6), "JPEG", quality=90)
    for orientation in range(0, 10):
        add(f"jpeg/orientation {orientation}", after_start(plain, segment(0xFFE1, exif(orientation))))
    add("jpeg/orientation big-endian", after_start(plain, segment(0xFFE1, exif(6, ">"))))
    add("jpeg/orientation long", after_start(plain, segment(0xFFE1, exif(5, "<", 4))))
    whole = exif(8)
    add("jpeg/exif in two segments", after_start(plain, segment(0xFFE1, whole[:20]), segment(0xFFE1, b"Exif\0\0" + whole[20:])))
    packet = b"http://ns.adobe.com/xap/1.0/\0"
    add("jpeg/orientation in xmp", after_start(plain, segment(0xFFE1, packet + xmp(7))))
    add("jpeg/exif before xmp", after_start(plain, segment(0xFFE1, packet + xmp(7)), segment(0xFFE1, exif(2))))
    add("jpeg/broken exif", after_start(plain, segment(0xFFE1, b"Exif\0\0II*\0\xff\xff\0\0")))
    add("jpeg/grey orientation", after_start(saved(image("L", 9, 5), "JPEG"), segment(0xFFE1, exif(6))))
    add("jpeg/cmyk orientation", after_start(saved(image("CMYK", 9, 5), "JPEG"), segment(0xFFE1, exif(8))))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(rows, bits):
    """Rows of samples to bytes, the first sample in the highest bits."""
    out = b""
    for row in rows:
        if bits == 16:
            out += b"".join(struct.pack(">H", v) for v in row)
        else:
            text = "".join(format(v, f"0{bits}b") for v in row)
            out += int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
    return out


def png(width, height, bits, colour, before=(), after=()):
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    rows = RNG.integers(0, 1 << bits, (height, width * channels)).tolist()
    raw = b"".join(b"\0" + packed([row], bits) for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
        + b"".join(before)
        + chunk(b"IDAT", zlib.compress(raw))
        + b"".join(after)
        + chunk(b"IEND", b"")
    )


def pngs():
    for colour, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (4, (8, 16)), (6, (8, 16))):
        for bits in depths:
            add(f"png/colour {colour} bits {bits}", png(9, 7, bits, colour))
    for bits in (1, 2, 4, 8):
        colours = chunk(b"PLTE", RNG.integers(0, 256, 3 << bits, np.uint8).tobytes())
        add(f"png/palette bits {bits}", png(9, 7, bits, 3, [colours]))
        alphas = chunk(b"tRNS", RNG.integers(0, 256, 1 << bits, np.uint8).tobytes())
        add(f"png/palette alpha bits {bits}", png(9, 7, bits, 3, [colours, alphas]))
    add("png/palette one transparent", png(9, 7, 4, 3, [chunk(b"PLTE", bytes(range(48))), chunk(b"tRNS", b"\xff\0")]))
    add("png/short palette", png(9, 7, 4, 3, [chunk(b"PLTE", bytes(range(100, 124)))]))
    for colour, bits, key in ((0, 8, b"\0\7"), (0, 1, b"\0\1"), (0, 16, b"\1\7"), (2, 8, bytes(6)), (2, 16, bytes(6))):
        add(f"png/transparent colour {colour} bits {bits}", png(9, 7, bits, colour, [chunk(b"tRNS", key)]))
    add("png/gamma and profile", png(9, 7, 8, 2, [chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"sRGB", b"\0")]))
    for orientation in (2, 3, 4, 5, 6, 7, 8):
        add(f"png/orientation {orientation}", png(6, 4, 8, 2, [chunk(b"eXIf", exif(orientation)[6:])]))
    add("png/exif after the data", png(6, 4, 8, 2, (), [chunk(b"eXIf", exif(6, ">")[6:])]))
    profile = exif(8)
    text = b"\nexif\n%8d\n" % len(profile) + profile.hex().encode() + b"\n"
    add("png/raw profile", png(6, 4, 8, 2, [chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))]))
    add("png/raw profile text", png(6, 4, 8, 2, [chunk(b"tEXt", b"Raw profile type exif\0" + text)]))
    for name, flag, body in (("", 0, xmp(6)), (" zipped", 1, zlib.compress(xmp(6)))):
        packet = b"XML:com.adobe.xmp\0" + bytes([flag, 0]) + b"\0\0" + body
        add(f"png/orientation in xmp{name}", png(6, 4, 8, 2, [chunk(b"iTXt", packet)]))
    add("png/grey orientation", png(6, 4, 16, 0, [chunk(b"eXIf", exif(5)[6:])]))
    frames = [image("RGB", 8, 6), image("RGB", 8, 6)]
    add("png/animated", saved(frames[0], "PNG", save_all=True, append_images=frames[1:]))
    add("png/animated default", saved(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True))


def lzw(indices, bits):
    """GIF's code stream without compression: a clear code before the table grows."""
    clear, codes = 1 << bits, []
    for i, index in enumerate(indices):
        if i % (clear - 2) == 0:
            codes.append(clear)
        codes.append(index)
    text = "".join(format(code, f"0{bits + 1}b")[::-1] for code in codes + [clear + 1])
    text = text.ljust(-(-len(text) // 8) * 8, "0")
    data = bytes(int(text[i : i + 8][::-1], 2) for i in range(0, len(text), 8))
    blocks = b"".join(bytes([len(part)]) + part for part in (data[i : i + 255] for i in range(0, len(data), 255)))
    return bytes([bits]) + blocks + b"\0"


def gif(canvas, frames, colours=None, background=0):
    """frames: (left, top, width, height, bits, local palette, transparent index, interlaced)."""
    flags = 0 if colours is None else 0x80 | (len(colours) // 3).bit_length() - 2
    out = b"GIF89a" + struct.pack("<HHBBB", *canvas, flags, background, 0) + (colours or b"")
    for left, top, width, height, bits, local, transparent, interlaced in frames:
        if transparent is not None:
            out += b"!\xf9\4" + struct.pack("<BHB", 1, 0, transparent) + b"\0"
        flags = (0x40 if interlaced else 0) | (0 if local is None else 0x80 | (len(local) // 3).bit_length() - 2)
        out += b"," + struct.pack("<HHHHB", left, top, width, height, flags) + (local or b"")
        out += lzw(RNG.integers(0, 1 << bits, width * height).tolist(), max(bits, 2))
    return out + b";"


def gifs():
    def colours(count):
        return RNG.integers(0, 256, 3 * count, np.uint8).tobytes()

    add("gif/palette", saved(palette(33, 21), "GIF"))
    add("gif/grey", saved(image("L", 19, 14), "GIF"))
    add("gif/rgb", saved(image("RGB", 23, 17), "GIF"))
    add("gif/large", saved(palette(90, 64), "GIF"))
    add("gif/transparent", saved(palette(20, 11, 16), "GIF", transparency=3))
    add("gif/not interlaced", saved(palette(20, 11, 16), "GIF", interlace=0))
    add("gif/animated", saved(palette(12, 9, 8), "GIF", save_all=True, append_images=[palette(12, 9, 8)]))
    add("gif/local palette", gif((9, 8), [(0, 0, 9, 8, 3, colours(8), None, False)]))
    add("gif/local over global", gif((9, 8), [(0, 0, 9, 8, 3, colours(8), None, True)], colours(4)))
    add("gif/interlaced", gif((9, 23), [(0, 0, 9, 23, 4, None, None, True)], colours(16)))
    add("gif/offset", gif((12, 10), [(2, 3, 5, 4, 2, None, None, False)], colours(4), 2))
    add("gif/offset transparent", gif((12, 10), [(2, 3, 5, 4, 2, None, 3, False)], colours(4), 2))
    add("gif/offset local", gif((12, 10), [(2, 3, 5, 4, 2, colours(4), 1, True)], colours(8), 2))
    add("gif/beyond the canvas", gif((6, 5), [(2, 3, 9, 7, 2, None, 1, False)], colours(4)))
    add("gif/beyond the canvas opaque", gif((6, 5), [(2, 3, 9, 7, 2, None, None, False)], colours(4)))
    add("gif/no palette", gif((9, 8), [(0, 0, 9, 8, 4, None, None, False)]))
    add("gif/index outside the palette", gif((9, 8), [(0, 0, 9, 8, 4, None, None, False)], colours(8)))
    add("gif/index outside the local palette", gif((9, 8), [(0, 0, 9, 8, 4, colours(4), None, False)], colours(16)))
    add("gif/grey palette", gif((9, 8), [(0, 0, 9, 8, 2, None, 2, False)], bytes([0] * 3 + [1] * 3 + [2] * 3 + [3] * 3)))
    add("gif/two colours", gif((9, 8), [(0, 0, 9, 8, 1, None, None, False)], colours(2)))
    add("gif/no canvas", gif((0, 0), [(0, 0, 9, 8, 2, None, None, False)], colours(4)))


def bmp(width, height, bits, data, compression=0, colours=b"", masks=b"", header=40, count=0, planes=1):
    tables = masks + colours
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, planes, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, height, planes, bits, compression, len(data), 2835, 2835, count, 0)
        if header > 40:
            info += masks.ljust(header - 40, b"\0")
            tables = colours
    offset = 14 + len(info) + len(tables)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + tables + data


def bmps():
    def rows(width, height, bits):
        stride = (width * bits + 31) // 32 * 4
        return RNG.integers(0, 256, stride * height, np.uint8).tobytes()

    def colours(count, size=4):
        return RNG.integers(0, 256, count * size, np.uint8).tobytes()

    for bits in (1, 4, 8):
        add(f"bmp/bits {bits}", bmp(13, 7, bits, rows(13, 7, bits), colours=colours(1 << bits)))
        add(f"bmp/bits {bits} top-down", bmp(13, -7, bits, rows(13, 7, bits), colours=colours(1 << bits)))
        add(f"bmp/bits {bits} os2", bmp(13, 7, bits, rows(13, 7, bits), colours=colours(1 << bits, 3), header=12))
    for bits in (16, 24, 32):
        add(f"bmp/bits {bits}", bmp(13, 7, bits, rows(13, 7, bits)))
        add(f"bmp/bits {bits} top-down", bmp(13, -7, bits, rows(13, 7, bits)))
    add("bmp/few colours", bmp(13, 7, 8, bytes(v % 11 for v in rows(13, 7, 8)), colours=colours(11), count=11))
    add("bmp/index outside the palette", bmp(13, 7, 8, rows(13, 7, 8), colours=colours(11), count=11))
    add("bmp/black and white", bmp(13, 7, 1, rows(13, 7, 1), colours=bytes([0, 0, 0, 0, 255, 255, 255, 0])))
    add("bmp/white and black", bmp(13, 7, 1, rows(13, 7, 1), colours=bytes([255, 255, 255, 0, 0, 0, 0, 0])))
    add("bmp/grey", bmp(13, 7, 8, rows(13, 7, 8), colours=b"".join(bytes([i, i, i, 0]) for i in range(256))))
    masks = {
        "565": (16, 0xF800, 0x7E0, 0x1F), "555": (16, 0x7C00, 0x3E0, 0x1F), "bgrx": (32, 0xFF0000, 0xFF00, 0xFF),
        "xbgr": (32, 0xFF000000, 0xFF0000, 0xFF00), "odd": (32, 0xFF00, 0xFF, 0xFF0000), "1024": (16, 0xF000, 0xF00, 0xF0),
        "24": (24, 0xFF0000, 0xFF00, 0xFF), "zero": (32, 0, 0, 0),
    }
    for name, (bits, *mask) in masks.items():
        add(f"bmp/masks {name}", bmp(13, 7, bits, rows(13, 7, bits), 3, masks=struct.pack("<III", *mask)))
    for name, mask in {
        "bgra": (0xFF0000, 0xFF00, 0xFF, 0xFF000000), "rgba": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        "abgr": (0xFF000000, 0xFF0000, 0xFF00, 0xFF), "bgar": (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
    }.items():
        add(f"bmp/v4 {name}", bmp(13, 7, 32, rows(13, 7, 32), 3, masks=struct.pack("<IIII", *mask), header=108))
    add("bmp/v5 24", bmp(13, 7, 24, rows(13, 7, 24), header=124))
    table = colours(256)
    runs = b"\5\1\0\4abcd\3\2\1\7\0\0" b"\4\3\0\2\3\1\6\10\0\0" b"\0\3xyz\0\12\6\0\0" b"\15\3\0\0\15\5\0\1"
    add("bmp/rle8", bmp(13, 6, 8, runs, 1, table))
    add("bmp/rle8 top-down", bmp(13, -6, 8, runs, 1, table))
    runs = b"\5\x12\0\4\x34\x56\4\x77\0\0\15\x12\0\0\0\2\2\1\3\x45\0\0\0\x08\x12\x34\x56\x78\5\xab\0\1"
    add("bmp/rle4 cut off", bmp(13, 6, 4, runs, 2, colours(16)))
    add("bmp/rle4", bmp(13, 6, 4, runs[:-2] + b"\0\0" + 4 * b"\x0d\x9a\0\0", 2, colours(16)))
    add("bmp/pillow", saved(image("RGB", 17, 5), "BMP"))


TYPES = {1: "B", 3: "H", 4: "I", 11: "f"}


def tiff(width, height, data, tags=(), order="<", bits=(8,), photometric=1, extra=(), compression=1, rows=None):
    """One picture in strips of some rows, data being the list of the strips' bytes."""
    entries = {
        256: (4, [width]), 257: (4, [height]), 258: (3, list(bits)), 259: (3, [compression]), 262: (3, [photometric]),
        277: (3, [len(bits)]), 278: (4, [rows or height]),
        279: (4, [len(strip) for strip in data]),
    }
    if extra:
        entries[338] = (3, list(extra))
    entries.update(dict(tags))
    place = 322 in entries and 324 or 273
    if place == 324:
        del entries[278]
        entries[325] = entries.pop(279)
    at, offsets = 8, []
    for strip in data:
        offsets.append(at)
        at += len(strip) + len(strip) % 2
    entries[place] = (4, offsets)
    body = b"".join(strip + b"\0" * (len(strip) % 2) for strip in data)
    table, far = b"", b""
    ends = at + 2 + 12 * len(entries) + 4
    for tag in sorted(entries):
        kind, values = entries[tag]
        value = struct.pack(order + str(len(values)) + TYPES[kind], *values)
        if len(value) > 4:
            far += b"\0" * (len(far) % 2)
            pointer = struct.pack(order + "I", ends + len(far))
            far += value
            value = pointer
        table += struct.pack(order + "HHI", tag, kind, len(values)) + value.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    return head + body + struct.pack(order + "H", len(entries)) + table + bytes(4) + far


def tiffs():
    def noise(count):
        return RNG.integers(0, 256, count, np.uint8).tobytes()

    modes = {"1": image("L", 21, 9).convert("1"), "L": image("L", 21, 9), "LA": image("LA", 21, 9), "P": palette(21, 9),
             "RGB": image("RGB", 21, 9), "RGBA": image("RGBA", 21, 9), "CMYK": image("CMYK", 21, 9)}
    for mode, picture in modes.items():
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
            add(f"tiff/{mode} {compression}", saved(picture, "TIFF", compression=compression))
    add("tiff/deflate old", saved(modes["RGB"], "TIFF", compression="tiff_deflate"))
    add("tiff/group4", saved(modes["1"], "TIFF", compression="group4"))
    add("tiff/group3", saved(modes["1"], "TIFF", compression="group3"))
    add("tiff/jpeg rgb", saved(image("RGB", 24, 20), "TIFF", compression="jpeg"))
    add("tiff/jpeg grey", saved(image("L", 24, 20), "TIFF", compression="jpeg"))
    add("tiff/lzw predictor", saved(image("RGB", 21, 9), "TIFF", compression="tiff_lzw", tiffinfo={317: 2}))
    add("tiff/deflate predictor", saved(image("L", 21, 9), "TIFF", compression="tiff_adobe_deflate", tiffinfo={317: 2}))
    add("tiff/lzw large", saved(image("RGB", 60, 40), "TIFF", compression="tiff_lzw"))
    add("tiff/two pages", saved(modes["RGB"], "TIFF", save_all=True, append_images=[modes["L"]]))
    add("tiff/big", saved(modes["RGB"], "TIFF", big_tiff=True))
    for order in "<>":
        name = "le" if order == "<" else "be"
        add(f"tiff/16 bit grey {name}", tiff(7, 5, [noise(70)], order=order, bits=(16,)))
        add(f"tiff/16 bit rgb {name}", tiff(7, 5, [noise(210)], order=order, bits=(16,) * 3, photometric=2))
        add(f"tiff/16 bit rgba {name}", tiff(7, 5, [noise(280)], order=order, bits=(16,) * 4, photometric=2, extra=(2,)))
        add(f"tiff/16 bit cmyk {name}", tiff(7, 5, [noise(280)], order=order, bits=(16,) * 4, photometric=5))
        add(f"tiff/8 bit rgb {name}", tiff(7, 5, [noise(105)], order=order, bits=(8,) * 3, photometric=2))
    small = struct.pack("<35H", *RNG.integers(0, 400, 35).tolist())
    add("tiff/16 bit grey small", tiff(7, 5, [small], bits=(16,)))
    add("tiff/16 bit grey deflate", tiff(7, 5, [zlib.compress(small)], bits=(16,), compression=8))
    add("tiff/16 bit signed", tiff(7, 5, [struct.pack("<35h", *RNG.integers(-300, 600, 35).tolist())], [(339, (3, [2]))], bits=(16,)))
    add("tiff/32 bit", tiff(7, 5, [struct.pack("<35i", *RNG.integers(-300, 600, 35).tolist())], [(339, (3, [2]))], bits=(32,)))
    add("tiff/float", tiff(7, 5, [struct.pack("<35f", *RNG.uniform(-50, 300, 35).tolist())], [(339, (3, [3]))], bits=(32,)))
    for bits in (1, 2, 4, 8):
        size = (7 * bits + 7) // 8 * 5
        add(f"tiff/grey {bits}", tiff(7, 5, [noise(size)], bits=(bits,)))
        add(f"tiff/white is zero {bits}", tiff(7, 5, [noise(size)], bits=(bits,), photometric=0))
        table = RNG.integers(0, 65536, 3 << bits).tolist()
        add(f"tiff/palette {bits}", tiff(7, 5, [noise(size)], [(320, (3, table))], bits=(bits,), photometric=3))
    add("tiff/fill order 1", tiff(7, 5, [noise(5)], [(266, (3, [2]))], bits=(1,)))
    add("tiff/fill order 8", tiff(7, 5, [noise(35)], [(266, (3, [2]))]))
    add("tiff/strips", tiff(7, 5, [noise(42), noise(42), noise(21)], bits=(8,) * 3, photometric=2, rows=2))
    add("tiff/planes", tiff(7, 5, [noise(35) for _ in range(3)], [(284, (3, [2]))], bits=(8,) * 3, photometric=2))
    add("tiff/planes deflate", tiff(7, 5, [zlib.compress(noise(35)) for _ in range(3)], [(284, (3, [2]))],
                                   bits=(8,) * 3, photometric=2, compression=8))
    tiled = [(322, (4, [16])), (323, (4, [16]))]
    add("tiff/tiles", tiff(20, 18, [noise(768) for _ in range(4)], tiled, bits=(8,) * 3, photometric=2))
    add("tiff/tiles deflate", tiff(20, 18, [zlib.compress(noise(768)) for _ in range(4)], tiled, bits=(8,) * 3, photometric=2, compression=8))
    add("tiff/tiles grey", tiff(20, 18, [noise(256) for _ in range(4)], tiled))
    for extra, name in ((0, "unspecified"), (1, "premultiplied"), (2, "straight")):
        add(f"tiff/extra {name}", tiff(7, 5, [noise(140)], bits=(8,) * 4, photometric=2, extra=(extra,)))
    add("tiff/extra missing", tiff(7, 5, [noise(140)], bits=(8,) * 4, photometric=2))
    add("tiff/cmyk extra", tiff(7, 5, [noise(175)], bits=(8,) * 5, photometric=5, extra=(0,)))
    add("tiff/16 bit premultiplied", tiff(7, 5, [noise(280)], bits=(16,) * 4, photometric=2, extra=(1,)))
    for orientation in range(1, 9):
        add(f"tiff/orientation {orientation}", tiff(6, 4, [noise(72)], [(274, (3, [orientation]))], bits=(8,) * 3, photometric=2))
    add("tiff/orientation deflate", tiff(6, 4, [zlib.compress(noise(72))], [(274, (3, [6]))], bits=(8,) * 3, photometric=2, compression=8))


def webps():
    for size in ((33, 27), (16, 16), (7, 5), (1, 1), (48, 40)):
        name = f"{size[0]}x{size[1]}"
        add(f"webp/lossy {name}", saved(image("RGB", *size), "WEBP", quality=75))
        add(f"webp/lossless {name}", saved(image("RGB", *size), "WEBP", lossless=True))
    add("webp/quality 10", saved(image("RGB", 40, 30), "WEBP", quality=10))
    add("webp/quality 98 slow", saved(image("RGB", 40, 30), "WEBP", quality=98, method=6))
    add("webp/lossy alpha", saved(image("RGBA", 25, 19), "WEBP", quality=80))
    add("webp/lossy alpha low", saved(image("RGBA", 25, 19), "WEBP", quality=80, alpha_quality=20))
    add("webp/lossless alpha", saved(image("RGBA", 25, 19), "WEBP", lossless=True, exact=True))
    add("webp/lossless alpha not exact", saved(image("RGBA", 25, 19), "WEBP", lossless=True))
    add("webp/lossless palette", saved(palette(40, 20, 12), "WEBP", lossless=True))
    add("webp/grey", saved(image("L", 22, 13), "WEBP"))
    plain = image("RGB", 8, 6)
    for orientation in (3, 5, 6, 8):
        add(f"webp/orientation {orientation}", saved(plain, "WEBP", lossless=True, exif=exif(orientation)))
    add("webp/exif without prefix", saved(plain, "WEBP", lossless=True, exif=exif(6)[6:]))
    add("webp/orientation in xmp", saved(plain, "WEBP", lossless=True, xmp=xmp(6)))
    frames = [image("RGBA", 20, 14), image("RGBA", 20, 14)]
    add("webp/animated", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True))
    add("webp/animated lossy", saved(frames[0].convert("RGB"), "WEBP", save_all=True, append_images=[frames[1].convert("RGB")]))
    inset = Image.new("RGBA", (20, 14))
    inset.paste(image("RGB", 8, 6), (4, 2))
    add("webp/animated offset", saved(inset, "WEBP", save_all=True, append_images=frames[1:], lossless=True, minimize_size=True))


def reference(data):
    picture = ImageFeature().decode_example({"path": None, "bytes": data})
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB")), picture.mode


def main(folder):
    for make in (jpegs, pngs, gifs, bmps, tiffs, webps):
        make()
    tensors = {}
    for name, data in PICTURES.items():
        tensors[f"{name} bytes"] = np.frombuffer(data, np.uint8)
        try:
            rgb, mode = reference(data)
        except Exception as refusal:
            print(f"refused: {name}: {type(refusal).__name__}: {refusal}")
            continue
        tensors[f"{name} rgb"] = rgb
    data = gzip.compress(save(tensors), 9, mtime=0)
    Path(folder, "pictures.safetensors.gz").write_bytes(data)
    print(len(PICTURES), "pictures", sum(t.nbytes for t in tensors.values()), "bytes")


if __name__ == "__main__":
    main(sys.argv[1])
