"""SiteEnvironment: the environment variables of a server's process that the scripts of its sites get.

The server has what its receivers and its user need: tokens, passwords, keys of clouds. A script of a site gets only
what a program needs to run, to find its libraries and to use the hardware. The operator can name more: with the
variable ``FEDTRACK_SITE_VARIABLES``, or with ``site_variables`` in the table ``[jobs]`` of ``fedtrack.toml``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

#: Names of more variables, separated by commas; ``*`` stands for any characters.
VARIABLE = "FEDTRACK_SITE_VARIABLES"

_NAMES = """
PATH HOME USER LOGNAME SHELL PWD LANG LANGUAGE TZ TERM COLUMNS LINES TMPDIR TMP TEMP
LD_LIBRARY_PATH LD_PRELOAD DYLD_LIBRARY_PATH DYLD_FALLBACK_LIBRARY_PATH VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV
SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy
HF_HOME HF_HUB_CACHE HF_DATASETS_CACHE HF_HUB_OFFLINE HF_DATASETS_OFFLINE TRANSFORMERS_CACHE TRANSFORMERS_OFFLINE
TOKENIZERS_PARALLELISM MPLBACKEND MPLCONFIGDIR MASTER_ADDR MASTER_PORT SOURCE_DATE_EPOCH
FEDTRACK_SPEEDUPS FEDTRACK_NODE_FOLDER FEDTRACK_PLUGINS FEDTRACK_DISABLE_PLUGINS FEDTRACK_STRICT_PLUGINS
"""
_PREFIXES = """
LC_ XDG_ PYTHON COVERAGE_ COV_CORE_ CUDA_ CUDNN_ CUBLAS_ NVIDIA_ NCCL_ GLOO_ UCX_ ROCR_ HIP_ HSA_ MIOPEN_ OMP_ KMP_
GOMP_ MKL_ OPENBLAS_ BLIS_ VECLIB_ NUMEXPR_ NUMBA_ TORCH_ TORCHINDUCTOR_ PYTORCH_ TRITON_ XLA_ JAX_ TF_ KERAS_ MALLOC_
ASAN_ LSAN_ UBSAN_ SLURM_ NVFLARE_
"""
_ALLOWED, _ALLOWED_PREFIXES = frozenset(_NAMES.split()), tuple(_PREFIXES.split())

#: A name that says that the value is a secret; such as SLURM_JWT, which has an allowed prefix.
_SECRET = re.compile(
    r"TOKEN|SECRET|PASS(?:WORD|WD|PHRASE)|CREDENTIAL|JWT|COOKIE|(?:API|ACCESS|PRIVATE|AUTH)_?KEY", re.I
)
_USERINFO = re.compile(r"://[^/\s@]{1,1024}@")


def site_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that a site's script gets.

    A variable with an allowed name stays out if its name or its value says that it holds a secret, such as a proxy with
    a password, unless the operator names it.
    """
    named = _named_by_operator(environment)
    return {name: value for name, value in environment.items() if _is_allowed(name, value, named)}


def _is_allowed(name: str, value: str, named: Iterable[str]) -> bool:
    if any(fnmatchcase(name, pattern) for pattern in named):
        return True
    usual = name in _ALLOWED or (name.startswith(_ALLOWED_PREFIXES) and not _SECRET.search(name))
    return usual and not _USERINFO.search(value)


def _named_by_operator(environment: Mapping[str, str]) -> tuple[str, ...]:
    if (text := environment.get(VARIABLE)) is not None:
        return tuple(name.strip() for name in text.split(",") if name.strip())
    from fedtrack.config_file import read_config
    from fedtrack.errors import ConfigError

    try:
        return tuple(read_config(here=False).jobs.site_variables)
    except ConfigError:  # an error of the file names it where jobs are loaded; here it allows nothing
        return ()


def keep_only(environment: Mapping[str, str]) -> None:
    """Let this process have only these variables, also where the kernel shows those with which it was started."""
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    for name, value in environment.items():
        os.environ[name] = value  # a copy elsewhere: what the kernel shows is cleared
    with contextlib.suppress(OSError, ValueError, IndexError):
        # Fields 50 and 51 of proc(5); the name in field 2 may have spaces and brackets.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        begin, end = int(fields[47]), int(fields[48])
        if 0 < begin < end:
            ctypes.memset(begin, 0, end - begin)
