"""Where two targets see one model differently."""

from __future__ import annotations

import json as plain_json
from dataclasses import replace

import pytest

import tripoint
from tests.helpers.graphs import GRAPH_A, build
from tripoint.analysis.differences import Kind, compare
from tripoint.report import columns, json
from tripoint.report import compare as report
from tripoint.table import Target, TensorFacts, TensorTable, ViewShape


def table(name: str, **views: ViewShape | None) -> TensorTable:
    """Tensors of true shape (2, 3) and what a target prints for them."""
    facts = tuple(
        TensorFacts(tensor, "Relu", f"node_{tensor}", "float", (2, 3), seen, None, None)
        for tensor, seen in views.items()
    )
    return TensorTable(
        target=Target(name, "importer", name),
        inputs=(),
        outputs=(),
        tensors=facts,
        symbols=frozenset(),
        data_dependent=frozenset(),
        chains=(),
        refusals=(),
        layers=None,
        contradictions=(),
    )


@pytest.mark.parametrize(
    ("a", "b", "kind"),
    [
        ((-1, 3), (2, 3), "lost_in_a"),
        ((2, 3), (2, -1), "lost_in_b"),
        ((-1, 3), (2, -1), "lost_in_both"),
        ((-1, -1), (2, -1), "lost_in_both"),
        ((2, 3), (2, 4), "another_size"),
        ((2, 3), (6,), "another_size"),
        ((-1, 3), (-1, 4), "another_size"),
        ((2, 3), None, "only_in_a"),
        (None, (-1, -1), "only_in_b"),
    ],
)
def test_kinds_of_difference(a: ViewShape | None, b: ViewShape | None, kind: Kind) -> None:
    found = compare(table("7.1", same=(2, 3), x=a), table("8.0", same=(2, 3), x=b))
    (difference,) = found.tensors
    assert (difference.name, difference.kind) == ("x", kind)
    assert (difference.a, difference.b) == (a, b)
    assert found.counts == {kind: 1}
    assert found.same == 1
    shown = report.lines(found)
    assert any(line.strip().startswith("x ") for line in shown)
    assert not any(line.strip().startswith("same") for line in shown)
    assert f"lost dims: {found.lost_dims_a} in A, {found.lost_dims_b} in B" in shown


def test_equal_views_have_no_rows() -> None:
    lost = {"x": (-1, 3), "y": None}
    found = compare(table("7.1", **lost), table("8.0", **lost))
    assert (found.tensors, found.same) == ((), 2)
    assert report.lines(found)[-1] == "both see all 2 tensors alike"


def test_a_tensor_that_one_table_does_not_list_is_not_reached_there() -> None:
    found = compare(table("7.1", x=(2, 3), y=(2, 3)), table("a.log", y=(2, 3), z=(-1, 3)))
    assert [(each.name, each.kind) for each in found.tensors] == [
        ("x", "only_in_a"),
        ("z", "only_in_b"),
    ]
    assert (found.lost_dims_a, found.lost_dims_b) == (0, 1)


def test_text_and_json_of_two_versions() -> None:
    a, b = (tripoint.shapes(GRAPH_A, target=target) for target in ("7.1", "7.2"))
    b = replace(
        b,
        tensors=tuple(
            replace(facts, tensorrt=facts.shape) if facts.name == "15" else facts
            for facts in b.tensors
        ),
    )
    found = compare(a, b)
    (difference,) = found.tensors
    assert (difference.name, difference.kind, difference.lost_a) == ("15", "lost_in_a", (0,))
    assert report.lines(found) == [
        "A: TensorRT 7.1 (modelled)",
        "B: TensorRT 7.2 (modelled)",
        "",
        *columns.columns(
            [
                ("tensor", "op", "true shape", "A (7.1)", "B (7.2)", ""),
                ("15", "Conv", "(1, 5, 5, 5)", "(-1, 5, 5, 5)", "(1, 5, 5, 5)", "A loses 0"),
            ]
        ),
        "",
        f"1 tensor seen differently, {found.same} alike",
        "1 lost in A only",
        f"lost dims: {a.summary.lost_dims} in A, {a.summary.lost_dims - 1} in B",
    ]
    document = plain_json.loads(json.dumps(report.document(found)))
    assert [target["name"] for target in document["targets"]] == ["7.1", "7.2"]
    assert document["differences"] == [
        {
            "name": "15",
            "op": "Conv",
            "node": difference.node,
            "kind": "lost_in_a",
            "shape": [1, 5, 5, 5],
            "tensorrt": [[-1, 5, 5, 5], [1, 5, 5, 5]],
            "lost": [[0], []],
        }
    ]
    assert document["summary"] == {
        "same": found.same,
        "different": 1,
        "kinds": {"lost_in_a": 1},
        "lost_dims": [a.summary.lost_dims, a.summary.lost_dims - 1],
    }


def test_names_cannot_write_to_the_terminal() -> None:
    odd = "x\x1b[31m"
    found = compare(table("7.1", **{odd: (2, 3)}), table("8.0", **{odd: (2, -1)}))
    assert not any("\x1b" in line for line in report.lines(found))


def test_dynamic_dims_are_no_difference() -> None:
    model = build("float[N,3] x", "y = Relu(x)")
    found = compare(*(tripoint.shapes(model, target=target) for target in ("7.0", "7.2")))
    assert found.tensors == ()
