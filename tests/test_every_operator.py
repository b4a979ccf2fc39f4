"""Tables that must have an entry for every operator; a failure names the file to touch."""

from __future__ import annotations

from collections.abc import Callable, Collection

import onnx.defs
import onnx_ir as ir
import pytest
from onnx_shape_inference import registry

from tripoint.graph import ops
from tripoint.numeric import reductions
from tripoint.shape_inference import operators as shape_functions
from tripoint.tolerance import arithmetic
from tripoint.views.importer import operators
from tripoint.views.importer.context import Version
from tripoint.views.importer_v7 import versions as v7
from tripoint.views.importer_v8 import versions as v8
from tripoint.views.importers import SUPPORTED

OPERATORS = {
    schema.name: schema.since_version
    for schema in onnx.defs.get_all_schemas()
    if schema.domain == "" and not schema.deprecated
}


def of_a_family() -> Collection[str]:
    return {op for family in ops.FAMILIES for op in family}


def with_a_shape_function() -> Collection[str]:
    shape_functions.register()
    return {op for op, since in OPERATORS.items() if registry.get("", op, since)}


def with_an_error() -> Collection[str]:
    return arithmetic.TABLE


TABLES: dict[str, Callable[[], Collection[str]]] = {
    "a family, in FAMILIES of src/tripoint/graph/ops.py": of_a_family,
    "a function, in _SHAPES of src/tripoint/shape_inference/operators/__init__.py": (
        with_a_shape_function
    ),
    "a kind, in src/tripoint/tolerance/arithmetic.py": with_an_error,
}


@pytest.mark.parametrize("entry", TABLES)
def test_every_operator_of_the_newest_opset_has(entry: str) -> None:
    missing = sorted(OPERATORS.keys() - set(TABLES[entry]()))
    assert not missing, f"{', '.join(missing)} of ONNX {onnx.__version__}: add {entry}"


def test_every_operator_that_sums_has_a_number_of_terms() -> None:
    summing = {arithmetic.Kind.SUMS, arithmetic.Kind.PRODUCTS}
    sums = {op for op, kind in arithmetic.TABLE.items() if kind in summing}
    missing = sorted(op for op in sums - ops.RECURRENT if not reductions.reduces(ir.node(op, [])))
    assert not missing, (
        f"{', '.join(missing)}: add a number of terms, in _COUNTERS of "
        "src/tripoint/numeric/reductions.py"
    )


VERSIONS = (*v7.VERSIONS, *v8.VERSIONS)
LISTED = "src/tripoint/views/importer/operators.json"


def test_every_version_of_tensorrt_is_in_all_tables() -> None:
    assert operators.versions() == SUPPORTED, (
        f"`opsets` of {LISTED} and _GENERATIONS of src/tripoint/views/importers.py differ"
    )
    assert tuple(version.name for version in VERSIONS) == SUPPORTED, (
        "VERSIONS of src/tripoint/views/importer_v7/versions.py and importer_v8/versions.py, and "
        "_GENERATIONS of src/tripoint/views/importers.py differ"
    )


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_version_imports_the_operators_that_its_table_lists(version: Version) -> None:
    rows = {op: operators.support(version.name, op) for op in operators.mentioned()}
    listed = {op for op, row in rows.items() if row is not None and row.supported}
    package = "importer_v7" if version in v7.VERSIONS else "importer_v8"
    missing, extra = (
        sorted(listed - set(version.importers)),
        sorted(set(version.importers) - listed),
    )
    assert not missing, (
        f"{', '.join(missing)}: add an importer to the table of {version.name} in "
        f"src/tripoint/views/{package}/versions.py, or correct {LISTED}"
    )
    assert not extra, (
        f"{', '.join(extra)}: add a row from {version.name} on to {LISTED}, or remove the importer "
        f"from the table of {version.name} in src/tripoint/views/{package}/versions.py"
    )
