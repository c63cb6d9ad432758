"""RareCalls: the calls of torch's ``SummaryWriter`` that make files, or that no record can hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fedtrack.tracking import MediaWriter, Refused
from fedtrack_tensorboard.arrays import as_array, precision_recall, saved, wav

#: The end of an artifact's path if its call has no step.
_NO_STEP = "latest"


class RareCalls(MediaWriter):
    """What torch's users call now and then; arguments and their order are torch's.

    Artifacts are called ``<kind>/<tag>/<step>.<ending>``.
    """

    def add_tensor(self, tag: str, tensor: Any, global_step: int | None = None, walltime: float | None = None) -> None:
        """Log an array or tensor as the artifact ``tensors/<tag>/<step>.npz``; ``walltime`` has no place there."""
        self._made(tag, lambda: self.record_artifact(_path("tensors", tag, global_step, "npz"), saved(tensor=tensor)))

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: int | None = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Log a sound, samples from -1 to 1, as the artifact ``audio/<tag>/<step>.wav``."""
        path = _path("audio", tag, global_step, "wav")
        self._made(tag, lambda: self.record_artifact(path, wav(snd_tensor, sample_rate)))

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Mapping[str, Any] | None = None,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Log a mesh as the artifact ``meshes/<tag>/<step>.npz``, with ``vertices``, ``colors`` and ``faces``."""
        path = _path("meshes", tag, global_step, "npz")
        self._made(tag, lambda: self.record_artifact(path, saved(vertices=vertices, colors=colors, faces=faces)))

    def add_embedding(
        self,
        mat: Any,
        metadata: Sequence[Any] | None = None,
        label_img: Any = None,
        global_step: int | None = None,
        tag: str = "default",
        metadata_header: Sequence[str] | None = None,
    ) -> None:
        """Log an embedding as the artifacts ``embeddings/<tag>/<step>/tensors.tsv``, ``metadata.tsv``, ``sprite.png``.

        They are the files that the embedding projector of TensorBoard loads.
        """

        def make() -> None:
            points = as_array(mat)
            if points.ndim != 2:
                raise Refused(f"an embedding has a row for each point, not the shape {points.shape}")
            folder = _path("embeddings", tag, global_step, "").rstrip(".")
            self.record_artifact(f"{folder}/tensors.tsv", _tsv(points.tolist()))
            if metadata is not None:
                rows = [row if isinstance(row, list | tuple) else [row] for row in metadata]
                head = [list(metadata_header)] if metadata_header else []
                self.record_artifact(f"{folder}/metadata.tsv", _tsv([*head, *rows]))
            if label_img is not None:
                self.record_pixels(f"{folder}/sprite", label_img, global_step, "NCHW")

        self._made(tag, make)

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Log a precision-recall curve as a table with a row for each threshold."""

        def make() -> None:
            curve = precision_recall(labels, predictions, num_thresholds, weights)
            self.record_table(tag, curve, _path("pr_curves", tag, global_step, "json"), global_step)

        self._made(tag, make)

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Log a precision-recall curve that the script has computed; see ``add_pr_curve``."""

        def make() -> None:
            given = {
                "true_positives": true_positive_counts,
                "false_positives": false_positive_counts,
                "true_negatives": true_negative_counts,
                "false_negatives": false_negative_counts,
                "precision": precision,
                "recall": recall,
            }
            columns = {name: as_array(values).ravel().tolist() for name, values in given.items()}
            self.record_table(tag, columns, _path("pr_curves", tag, global_step, "json"), global_step)

        self._made(tag, make)

    def add_custom_scalars(self, layout: Mapping[str, Any]) -> None:
        """Log a layout of charts as the artifact ``custom_scalars.json``; no receiver arranges its charts by it."""
        self._made(
            "custom_scalars",
            lambda: self.record_artifact("custom_scalars.json", json.dumps(layout, default=str).encode()),
        )

    def add_custom_scalars_multilinechart(
        self, tags: Sequence[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """See ``add_custom_scalars``."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(
        self, tags: Sequence[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """See ``add_custom_scalars``."""
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def add_graph(
        self, model: Any, input_to_model: Any = None, verbose: bool = False, use_strict_trace: bool = True
    ) -> None:
        """Count the call: no receiver shows graphs of models."""
        self.record_ignored("add_graph()", "no receiver shows the graph of a model; the training goes on without it")

    def add_onnx_graph(self, prototxt: Any) -> None:
        """Log the ONNX file as an artifact."""
        self.record_file(prototxt)


def _path(kind: str, tag: Any, step: Any, ending: str) -> str:
    return f"{kind}/{tag}/{_NO_STEP if step is None else step}.{ending}"


def _tsv(rows: Sequence[Sequence[Any]]) -> bytes:
    lines = ("\t".join(" ".join(str(cell).split()) for cell in row) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()
