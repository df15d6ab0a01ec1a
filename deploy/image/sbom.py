#!/usr/bin/env python3
"""Prints which crates are in the image's program, as a CycloneDX 1.6 document: what Cargo.lock has, less what only builds and tests use.

Nothing but the sources decides what it says, so the same sources give the same document.
"""
import json
import pathlib
import subprocess
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "revoiceit-operator"


def shipped(metadata, start):
    """The ids of the packages that `start` is made of, and for each those that it uses: no build scripts, macros or tests."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    macros = {package["id"] for package in metadata["packages"] if any("proc-macro" in target["kind"] for target in package["targets"])}
    uses, todo = {}, [start]
    while todo:
        package = todo.pop()
        if package in uses:
            continue
        normal = {dep["pkg"] for dep in nodes[package]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])}
        uses[package] = sorted(normal - macros)
        todo += uses[package]
    return uses


def component(package, checksums):
    reference = f"pkg:cargo/{package['name']}@{package['version']}"
    entry = {"type": "library", "bom-ref": reference, "name": package["name"], "version": package["version"], "purl": reference}
    if package["license"]:
        # Some crates still write "MIT/Apache-2.0", which is no expression.
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := checksums.get((package["name"], package["version"])):
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


def main():
    target = subprocess.run(["rustc", "--print", "host-tuple"], check=True, capture_output=True, text=True).stdout.strip()
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}
    start = next(package["id"] for package in metadata["packages"] if package["name"] == NAME)
    uses = shipped(metadata, start)
    parts = {id: component(packages[id], checksums) for id in uses}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": parts[start] | {"type": "application"}},
        "components": sorted((parts[id] for id in uses if id != start), key=lambda part: part["bom-ref"]),
        "dependencies": sorted(
            ({"ref": parts[id]["bom-ref"], "dependsOn": sorted(parts[use]["bom-ref"] for use in used)} for id, used in uses.items()),
            key=lambda entry: entry["ref"],
        ),
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
