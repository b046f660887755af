"""Which sources are taken: licences, generated files, copies, held-out packages."""

import json
from pathlib import Path

import pytest

from pipo.data import Deduplicator, Document, Package, is_permissive, manifest_of, node_packages, read_documents, select

PROSE = "\n".join(f"export function name{chr(97 + i % 26)}{i}(value) {{ return transform(value); }}" for i in range(12))


def document(package: str, path: str, text: str, language: str = "typescript") -> Document:
    return Document(Package(package, "1.0.0", "MIT", "npm"), path, language, text)


@pytest.mark.parametrize("licence", ["MIT", "Apache-2.0", "BSD 3-Clause", "ISC", "(MIT OR CC0-1.0)", "PSF-2.0"])
def test_permissive_licences_are_taken(licence: str) -> None:
    assert is_permissive(licence)


@pytest.mark.parametrize("licence", ["", "GPL-3.0", "LGPL-2.1", "MPL-2.0", "MIT AND GPL-2.0", "SEE LICENSE IN FILE"])
def test_other_licences_are_refused(licence: str) -> None:
    assert not is_permissive(licence)


def test_packages_without_permissive_licence_yield_no_files(tmp_path: Path) -> None:
    for name, licence in (("open", "MIT"), ("closed", "UNLICENSED"), ("copyleft", "GPL-3.0")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "package.json").write_text(json.dumps({"name": name, "version": "1.0.0", "license": licence}))
        (folder / "index.ts").write_text(PROSE)
    assert [d.package.name for d in read_documents(node_packages(tmp_path))] == ["open"]


def test_minified_generated_and_vendored_files_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    (folder / "vendor").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": "open", "version": "1.0.0", "license": "MIT"}))
    (folder / "good.ts").write_text(PROSE)
    (folder / "vendor" / "copy.ts").write_text(PROSE)
    (folder / "long.js").write_text(PROSE.replace("\n", " "))
    (folder / "built.js").write_text('Object.defineProperty(exports, "__esModule", { value: true });\n' + PROSE)
    (folder / "broken.js").write_bytes(b"\xff\xfe" + PROSE.encode())
    assert [d.path for d in read_documents(node_packages(tmp_path))] == ["good.ts"]


def test_near_copies_are_dropped() -> None:
    known = Deduplicator()
    assert known.take(PROSE)
    assert not known.take(PROSE)
    assert not known.take(PROSE + "\nexport const somethingNewAtTheEnd = 1;\n")
    assert known.take("\n".join(f"const anotherConstantNumber{i} = compute({i});" for i in range(9)))


def test_a_copy_of_a_held_out_file_never_reaches_training() -> None:
    taken = select(
        [
            document("aardvark", "stolen.ts", PROSE),
            document("zod", "x.ts", "other " * 5),
            document("hono", "a.ts", PROSE),
        ]
    )
    assert ("aardvark", "stolen.ts") not in [(d.package.name, d.path) for d in taken]
    assert ("hono", "a.ts") in [(d.package.name, d.path) for d in taken]


def test_manifest_names_every_package_with_its_split() -> None:
    rows = manifest_of(
        [document("rich", "a.py", "xx", "python"), document("open", "b.ts", "yyy"), document("open", "c.ts", "z")]
    )
    assert [(r["name"], r["split"], r["files"], r["characters"]) for r in rows] == [
        ("open", "train", 2, 4),
        ("rich", "held-out", 1, 2),
    ]
