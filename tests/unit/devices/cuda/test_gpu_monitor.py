# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPU's load through NVML: whole, with figures missing, and without library or driver."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from tests.fakes.gpu_libraries.nvml import BUS, FakeNvml

from vision_line.devices.cuda import monitor as monitor_module
from vision_line.devices.cuda.monitor import GpuMonitor
from vision_line.ports import DeviceLoad


def test_every_figure_has_its_unit() -> None:
    """Bytes become megabytes, milliwatts watts, millijoules joules."""
    nvml = FakeNvml()
    monitor = GpuMonitor(BUS, nvml, name="cuda:1")

    (load,) = monitor.sample()
    assert load == DeviceLoad(
        name="cuda:1",
        memory_used_mb=1100,
        memory_total_mb=12288,
        sm_percent=32,
        decoder_percent=53,
        power_w=35.25,
        energy_j=7000.5,
        temperature_c=61,
        throttled=False,
    )
    monitor.close()
    monitor.close()
    assert nvml.opened == 0
    assert monitor.sample() == ()


@pytest.mark.parametrize(
    ("unsupported", "field"),
    [
        ("nvmlDeviceGetUtilizationRates", "sm_percent"),
        ("nvmlDeviceGetDecoderUtilization", "decoder_percent"),
        ("nvmlDeviceGetPowerUsage", "power_w"),
        ("nvmlDeviceGetTotalEnergyConsumption", "energy_j"),
    ],
)
def test_missing_figure_is_none_and_the_others_stay(unsupported: str, field: str) -> None:
    """A GPU that does not tell one thing still tells the rest."""
    (load,) = GpuMonitor(BUS, FakeNvml(unsupported)).sample()

    assert getattr(load, field) is None
    assert load.memory_used_mb == 1100


def test_older_drivers_show_the_temperature_their_way() -> None:
    """Where the newer call is not known the older one is asked; where both are not, there is no figure."""
    (older,) = GpuMonitor(BUS, FakeNvml("nvmlDeviceGetTemperatureV")).sample()
    (none,) = GpuMonitor(BUS, FakeNvml("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature")).sample()

    assert older.temperature_c == 60
    assert none.temperature_c is None


@pytest.mark.parametrize(("reasons", "throttled"), [(0x00, False), (0x04, False), (0x20, True), (0x44, True)])
def test_heat_is_distinguished_from_other_reasons_for_low_clocks(reasons: int, throttled: bool) -> None:
    """An idle GPU and one at its power limit are not too hot."""
    nvml = FakeNvml()
    nvml.reasons = reasons
    (load,) = GpuMonitor(BUS, nvml).sample()

    assert load.throttled is throttled


def test_older_drivers_show_heat_their_way() -> None:
    """As with the temperature."""
    (older,) = GpuMonitor(BUS, FakeNvml("nvmlDeviceGetCurrentClocksEventReasons")).sample()
    unsupported = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
    (none,) = GpuMonitor(BUS, FakeNvml(*unsupported)).sample()

    assert older.throttled is True
    assert none.throttled is None


def test_a_question_that_hangs_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A GPU that fell off the bus can keep NVML for ever: closing leaves it alone, and says so."""
    monkeypatch.setattr(monitor_module, "_HANGS_AFTER_S", 0.05)
    nvml, asked, answer = FakeNvml(), threading.Event(), threading.Event()

    def hang(handle: str) -> Any:
        asked.set()
        assert answer.wait(60)
        return SimpleNamespace(used=0, total=0)

    monkeypatch.setattr(nvml, "nvmlDeviceGetMemoryInfo", hang)
    monitor = GpuMonitor(BUS, nvml, name="cuda:0")
    thread = threading.Thread(target=monitor.sample)
    thread.start()
    assert asked.wait(60)

    assert monitor.sample() == ()
    with caplog.at_level("WARNING"):
        monitor.close()
    answer.set()
    thread.join()

    assert caplog.messages == ["cuda:0: NVML does not answer, and is not shut down"]
    monitor.close()
    assert nvml.opened == 0


@pytest.mark.parametrize(
    ("bus", "unsupported", "reason"),
    [(BUS, "nvmlInit", "Not Supported"), ("0000:09:00.0", "", "Not Found")],
)
def test_without_driver_or_gpu_the_reason_is_reported_once(
    bus: str, unsupported: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """There are no figures, one line says why, and closing is as ever."""
    with caplog.at_level("INFO"):
        monitor = GpuMonitor(bus, FakeNvml(unsupported))
        assert [monitor.sample() for _ in range(3)] == [()] * 3
        monitor.close()

    assert monitor.reason == reason
    assert len(caplog.records) == 1


def test_gpu_that_vanishes_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """A GPU that stops answering ends the figures, not the program."""
    nvml = FakeNvml()
    monitor = GpuMonitor(BUS, nvml)
    assert len(monitor.sample()) == 1
    nvml.unsupported.add("nvmlDeviceGetMemoryInfo")
    with caplog.at_level("INFO"):
        assert [monitor.sample(), monitor.sample()] == [(), ()]
    assert len(caplog.records) == 1


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without nvidia-ml-py the reason names the command."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monitor = GpuMonitor(BUS)

    assert monitor.sample() == ()
    assert "pip install '.[cuda]'" in monitor.reason
    monitor.close()


def test_fake_has_only_names_of_the_real_library() -> None:
    """Whatever is used exists in nvidia-ml-py, whose errors are of one class; without a driver it fails by that."""
    pynvml = pytest.importorskip("pynvml", reason="pip install nvidia-ml-py")
    names = [name for name in vars(FakeNvml) if not name.startswith("_")]

    assert [name for name in names if not hasattr(pynvml, name)] == []
    assert GpuMonitor("0000:ff:1f.7").sample() == ()
