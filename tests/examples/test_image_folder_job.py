"""The main example on photographs instead of digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.demo import run_example


@pytest.mark.timeout(250)
def test_job_on_an_image_folder(cifar_images: Path, tmp_path: Path) -> None:
    arguments = ["--dataset", "imagefolder", "--data-dir", str(cifar_images), "--num-rounds", "2"]
    result = run_example("hello-pt-mlflow", tmp_path / "ws", *arguments, "--partition", "dirichlet").result
    assert result.status == "completed"
    total = sum(site.journaled for site in result.sites.values())
    assert {receiver.delivered for receiver in result.receivers.values()} == {total}
    assert 0 < result.final_metrics["accuracy"] <= 1
