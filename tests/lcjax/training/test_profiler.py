"""Traces of single steps."""

import gzip
import json

import pytest
from networks import small

from data_pipelines.schema.errors import InputError
from lcjax.configs import dfc2020
from lcjax.runs import goodput
from lcjax.training import profiler
from lcjax.training.run import train


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the profiler's own socket
def test_the_steps_asked_for_are_traced(data_dir, tmp_path, capsys):
    config = small(dfc2020.get_config("model=swin_unet,data=sample,tiny=true"), data_dir, steps=4)
    train(config, tmp_path / "run", profile="2:3")
    assert "traced: " in capsys.readouterr().out
    (perfetto,) = (tmp_path / "run" / "profile").rglob("perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(perfetto.read_bytes()))["traceEvents"]
    steps = {event["args"]["step_num"] for event in events if event.get("name") == "train"}
    assert steps == {"1", "2"}  # counted from 0: the second and the third
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))
    spent = goodput.summary(tmp_path / "run" / goodput.FILE)
    assert spent.restarts == 0 and 0 < spent.goodput < 1
    assert {"start", "compile", "data", "evaluate", "checkpoint", "step"} <= spent.seconds.keys()
    assert sum(spent.seconds.values()) == pytest.approx(spent.wall, rel=0.1)


def test_where_nothing_was_traced_it_says_so(tmp_path, capsys):
    for asked, says in (("30:31", "--profile=30:31: nothing is traced"), ("", "")):
        with profiler.Trace(asked, tmp_path) as trace:
            trace.before(1)
            trace.after(1, None)
        said = capsys.readouterr().out
        assert says in said and bool(said) == bool(says)


@pytest.mark.parametrize("asked", ["5", "3:2", "0:2", "a:b", "1:2:3"])
def test_what_is_no_range_of_steps_is_refused(asked, tmp_path):
    with pytest.raises(InputError, match=f"--profile={asked}: expected FIRST:LAST"):
        profiler.Trace(asked, tmp_path)
