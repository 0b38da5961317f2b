# SPDX-License-Identifier: AGPL-3.0-or-later
"""NVRTC builds the kernel for every GPU that is supported, without a GPU, and the result keeps to its limits."""

from __future__ import annotations

import importlib.util
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.fakecuda import driver as fake_driver
from tests.fakes.host_kernel import KERNELS, PARAMETER_BYTES

from vision_line.devices.cuda import kernel
from vision_line.errors import DeviceError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("cuda.core") is None, reason='needs cuda-core: pip install ".[cuda]"'
)

#: Turing to Blackwell; 87 is Jetson Orin, 110 Jetson Thor.
TARGETS = (75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121)

#: With 64 registers a thread Turing holds all the threads that it can, other GPUs half or two thirds of them.
MOST_REGISTERS = 64


@pytest.fixture(scope="module", autouse=True)
def fake_driver_first(request: pytest.FixtureRequest) -> None:
    """Load the fake driver, which nothing here needs: later it could not take the real one's place any more."""
    if fake_driver.missing() is None:
        request.getfixturevalue("fake_cuda_process")


@pytest.fixture(scope="module")
def known(fake_driver_first: None) -> frozenset[int]:
    """Give the targets of the NVRTC at hand."""
    from cuda.bindings import nvrtc

    result, targets = nvrtc.nvrtcGetSupportedArchs()
    assert result == 0
    return frozenset(targets)


def machine_code(sm: int, cache_dir: Path | None) -> bytes:
    code = kernel.build_cubin(sm, cache_dir).code
    assert isinstance(code, bytes)
    return code


def compile_ptx(sm: int) -> str:
    """Return the kernel as PTX, with the product's options; cuda.core makes PTX only where there is a driver."""
    from cuda.bindings import nvrtc

    source = kernel.SOURCE.read_bytes()
    options = [option for option in kernel.program_options(sm).as_bytes("nvrtc") if b"arch" not in option]
    options.append(f"--gpu-architecture=compute_{sm}".encode())
    _, program = nvrtc.nvrtcCreateProgram(source, b"letterbox.cu", 0, [], [])
    try:
        assert nvrtc.nvrtcCompileProgram(program, len(options), options)[0] == 0
        _, size = nvrtc.nvrtcGetPTXSize(program)
        text = b" " * size
        assert nvrtc.nvrtcGetPTX(program, text)[0] == 0
        return str(text, "ascii").rstrip("\0")
    finally:
        nvrtc.nvrtcDestroyProgram(program)


@pytest.mark.parametrize("sm", TARGETS)
def test_it_builds_within_its_limits(sm: int, known: frozenset[int]) -> None:
    """Both kernels use few registers and no memory of their own, not even to spill into."""
    if sm not in known:
        pytest.skip(f"this NVRTC does not know sm_{sm}: pip install -U nvidia-cuda-nvrtc")
    from cuda.core import Program

    log = io.StringIO()
    options = replace(kernel.program_options(sm), ptxas_options=["-v"])
    code = Program(kernel.SOURCE.read_text(), "c++", options).compile("cubin", logs=log)
    assert code.code[:4] == b"\x7fELF"
    report = log.getvalue()
    assert set(re.findall(r"entry function '(\w+)'", report)) == set(KERNELS)
    registers = [int(count) for count in re.findall(r"Used (\d+) registers", report)]
    assert len(registers) == len(KERNELS)
    assert max(registers) <= MOST_REGISTERS
    spilled = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report)
    assert spilled == [("0", "0", "0")] * len(KERNELS)


@pytest.mark.parametrize("sm", [75, 90, 120])
def test_the_code_holds_nothing_that_could_round_differently(sm: int, known: frozenset[int]) -> None:
    """The only float operations are a conversion and one multiplication for each value; nothing is divided."""
    if sm not in known:
        pytest.skip(f"this NVRTC does not know sm_{sm}: pip install -U nvidia-cuda-nvrtc")
    ptx = compile_ptx(sm)
    floats = set(re.findall(r"^\s+([a-z]\S*f(?:16|32|64)\S*)\s", ptx, re.MULTILINE))
    assert floats <= {"cvt.rn.f32.s32", "cvt.rn.f32.u32", "mul.rn.f32", "mov.f32", "st.global.f32"}
    for word in ("fma.", "div.", "rem.", ".local"):
        assert word not in ptx


def test_the_parameters_are_those_of_the_host_build() -> None:
    """The kernels take what `host_kernel` says they take."""
    ptx = compile_ptx(75)
    for name in KERNELS:
        entry = re.search(rf"\.entry {name}\((.*?)\)", ptx, re.DOTALL)
        assert entry is not None
        assert tuple(int(bits) // 8 for bits in re.findall(r"\.param \.[a-z](\d+)", entry[1])) == PARAMETER_BYTES


def test_a_built_kernel_is_kept_for_its_target(tmp_path: Path) -> None:
    """The second build is read from disk; another target gets a build of its own."""
    first = machine_code(86, tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert [path.read_bytes() for path in kept] == [first]
    assert machine_code(86, tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == kept
    kernel.build_cubin(89, tmp_path)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2


def test_a_changed_source_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was built from another source is not taken."""
    kernel.build_cubin(86, tmp_path / "cache")
    changed = tmp_path / "letterbox.cu"
    changed.write_text(kernel.SOURCE.read_text().replace("{114, 114, 114}", "{0, 0, 0}"))
    monkeypatch.setattr(kernel, "SOURCE", changed)
    kernel.build_cubin(86, tmp_path / "cache")
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) == 2


def test_a_folder_that_cannot_be_written_costs_a_build(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The kernel is built all the same, and the log says that it is not kept."""
    (tmp_path / "file").touch()
    assert machine_code(86, tmp_path / "file" / "cache")[:4] == b"\x7fELF"
    assert "cannot be cached in" in caplog.text


def test_a_relative_of_a_known_gpu_gets_the_relatives_code() -> None:
    """A minor version that the compiler does not know runs the newest code before it of its generation."""
    assert machine_code(76, None) == machine_code(75, None)


def test_an_unknown_generation_is_one_sentence() -> None:
    """A GPU newer than the compiler names itself and the package to update."""
    with pytest.raises(DeviceError, match=r"no code for compute capability 99\.0: update nvidia-cuda-nvrtc"):
        kernel.build_cubin(990, None)


def test_a_source_that_does_not_compile_is_a_device_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler says is in the error."""
    broken = tmp_path / "broken.cu"
    broken.write_text("undeclared = 1;")
    monkeypatch.setattr(kernel, "SOURCE", broken)
    with pytest.raises(DeviceError, match="preprocessing kernel cannot be built"):
        kernel.build_cubin(86, None)
