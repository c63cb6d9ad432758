"""DataChoice: the images of a job, and how they are divided among its sites.

A ``job.py`` makes one from its options and passes it on as arguments of its ``client.py``, from which each site reads
it. Torch is not imported until a site loads its images.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from fedtrack.errors import ConfigError
from fedtrack_examples import datasets, partition

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Subset


@dataclass(frozen=True)
class DataChoice:
    """The images of a job.

    Attributes:
        dataset: The data set's name.
        data_dir: The folder of its images; see ``datasets.load``.
        partition: The method that divides the training images among the sites.
        alpha: For ``"dirichlet"``: the smaller it is, the more the sites differ.
        seed: The seed of the partition and of the training.
        n_sites: How many sites share the training images.
    """

    dataset: datasets.Name = "digits"
    data_dir: Path | None = None
    partition: partition.Method = "iid"
    alpha: float = 0.5
    seed: int = 0
    n_sites: int = 2

    def shape(self) -> datasets.ImageShape:
        """Return the properties of the images as arguments of a network.

        Raises:
            ConfigError: The images are not there.
        """
        return datasets.shape(self.dataset, self.data_dir)

    def model(self, network: str) -> str | dict[str, Any]:
        """Return a job's ``initial_model``: ``network`` ("file:callable") with the arguments that fit the images.

        Raises:
            ConfigError: The images are not there.
        """
        shape = self.shape()
        if self.dataset == "digits":
            return network  # its defaults fit
        return {"path": network, "args": shape._asdict()}

    def script_args(self) -> str:
        """Return the choice as command-line arguments, which a site's script reads with ``parser``."""
        values = asdict(self)
        if self.data_dir is not None:
            values["data_dir"] = self.data_dir.absolute()  # a site runs in a folder of its own
        given = {name: value for name, value in values.items() if value is not None}
        return shlex.join(f"--{name.replace('_', '-')}={value}" for name, value in given.items())

    def load(self, site: str) -> tuple[Subset[tuple[Tensor, Tensor]], Subset[tuple[Tensor, Tensor]]]:
        """Return the site's part of the training images and its part of the test images.

        Both are divided in the same way, as the images of two hospitals are: a site scores a model by images like its
        own, so that sites differ. If there are more sites than test images, each site has all of them.

        Args:
            site: ``site-1`` gets the first part.

        Raises:
            ConfigError: The images are not there, or ``site`` is not one of the ``n_sites`` sites.
        """
        from torch.utils.data import Subset

        index = self._index(site)
        train = datasets.load(self.dataset, self.data_dir, train=True)
        parts = partition.partition(train.targets, self.n_sites, self.partition, self.alpha, self.seed)
        test = datasets.load(self.dataset, self.data_dir, train=False)
        own = range(len(test))
        if self.n_sites <= len(test):
            division = partition.partition(test.targets, self.n_sites, self.partition, self.alpha, self.seed)
            own = division[index].tolist()
        return Subset(train, parts[index].tolist()), Subset(test, own)

    def _index(self, site: str) -> int:
        for index in range(self.n_sites):
            if site == f"site-{index + 1}":
                return index
        raise ConfigError(
            f"No images are set aside for {site!r}: they are dealt out to {self.n_sites} sites, "
            f"site-1 to site-{self.n_sites}; start the job with --n-clients as large as its number of sites."
        )

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> DataChoice:
        """Return the choice that ``parser`` has read."""
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})


def parser() -> argparse.ArgumentParser:
    """Return a parser for the arguments that ``DataChoice.script_args`` writes; a script may add its own arguments."""
    default = DataChoice()
    new = argparse.ArgumentParser()
    new.add_argument("--dataset", choices=datasets.NAMES, default=default.dataset)
    new.add_argument("--data-dir", type=Path, help="where the images are")
    new.add_argument("--partition", choices=get_args(partition.Method), default=default.partition)
    new.add_argument("--alpha", type=float, default=default.alpha, help="dirichlet: smaller is more different")
    new.add_argument("--seed", type=int, default=default.seed)
    new.add_argument("--n-sites", type=int, default=default.n_sites, help="how many sites share the images")
    return new
