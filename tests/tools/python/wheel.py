"""Makes a wheel of an assembled package: `wheel.py FOLDER OUT` prints where it is.

The module reaches the library through ctypes, so one wheel per platform serves every Python 3; a wheel is a ZIP
archive with a list of its files (binary distribution format, PyPA).
"""

import base64
import hashlib
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

STAMP = (1980, 1, 1, 0, 0, 0)


def main(folder, out):
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    name, version = project["name"], project["version"]
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    info = f"{name}-{version}.dist-info"
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / name).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    metadata = [
        "Metadata-Version: 2.4",
        f"Name: {name}",
        f"Version: {version}",
        f"Summary: {project['description']}",
        f"Requires-Python: {project['requires-python']}",
        f"License-Expression: {project['license']}",
    ]
    for licence in project["license-files"]:
        metadata.append(f"License-File: {licence}")
        files[f"{info}/licenses/{licence}"] = (folder / licence).read_bytes()
    files[f"{info}/METADATA"] = ("\n".join(metadata) + "\n").encode()
    tag = f"py3-none-{platform}"
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: walkpay\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
    record = "".join(f"{path},{digest(data)},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()

    wheel = out / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, STAMP)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    print(wheel)


def digest(data):
    value = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={value}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
