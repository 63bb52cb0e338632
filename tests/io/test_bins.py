"""Training bins: the published format, rows in pieces, whole files or none."""

import hashlib
import json
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("h5py", reason="bins need h5py: pip install -e .[train]")
pytest.importorskip("hdf5plugin", reason="bins need hdf5plugin: pip install -e .[train]")

import h5py

from clair3.cli.main import main as clair3
from clair3.errors import ConfigError, InputError, install_command
from clair3.genotype import labels
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.io import bins
from clair3.io.bins import COLUMNS, Bin, BinFormat, find_bins, merge_bins, write_bin
from clair3.platforms import PLATFORMS
from clair3.records import TrainingExamples

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = (
    ("pileup_random_600.bin", PILEUP, "ont", False),
    ("full_alignment_hifi_random_24.bin", FULL_ALIGNMENT, "hifi", False),
    ("full_alignment_ont_random_12.bin", FULL_ALIGNMENT, "ont", False),
    ("full_alignment_ont_dwell_random_6.bin", FULL_ALIGNMENT, "ont", True),
)
SMALL = BinFormat.of(PILEUP, "ont")


def made_rows(count: int, form: BinFormat = SMALL, seed: int = 0, contig: str = "chr1") -> TrainingExamples:
    """Random rows of a format."""
    random = np.random.default_rng(seed)
    classes = np.stack([random.integers(0, size, count) for size in (21, 3, 33, 33)], axis=1)
    return TrainingExamples(
        random.integers(-100, 101, (count, *form.shape)).astype(form.dtype),
        labels.one_hot(classes),
        [f"{contig}:{seed * 1000 + i + 1}:{'ACG' * 11}".encode() for i in range(count)],
        [f"{i + 3}-XA {i + 1} RC 2".encode() for i in range(count)],
    )


def write(
    path: Path, *parts: TrainingExamples, form: BinFormat = SMALL, platform: str | None = "ont", **options
) -> Path:
    with write_bin(path, form, platform, **options) as writer:
        for part in parts:
            writer.append(part)
    assert writer.rows == sum(map(len, parts))
    return path


def whole(path: Path) -> dict[str, np.ndarray]:
    with Bin(path) as one:
        return one.rows(0, len(one), COLUMNS)


def assert_same_rows(found: dict[str, np.ndarray], rows: TrainingExamples):
    assert (found["position_matrix"] == rows.position_matrix).all() and (found["label"] == rows.label).all()
    assert found["position"].tolist() == rows.position and found["alt_info"].tolist() == rows.alt_info


def sizes_and_packing(dataset: h5py.Dataset) -> tuple:
    plan = dataset.id.get_create_plist()
    packing = [plan.get_filter(i)[0::2] for i in range(plan.get_nfilters())]
    return dataset.shape, dataset.maxshape, dataset.dtype, dataset.chunks, packing


# The format


@pytest.mark.parametrize("name, kind, platform, dwell", GOLDEN)
@pytest.mark.parametrize("piece", [7, 500, 2000])
def test_golden_bins_are_read(name, kind, platform, dwell, piece, shared_data):
    folder = shared_data / "golden" / "bins"
    expected = json.loads((folder / "checksums.json").read_text())[name]
    with Bin(folder / name) as one:
        one.check(BinFormat.of(kind, platform, dwell), platform)
        assert (one.kind, one.channels, one.platform, one.attributes) == (kind, one.format.channels, None, {})
        assert [len(one), *one.format.shape] == expected["position_matrix"]["shape"] and one.contig() == "chr7"
        digests = {column: hashlib.sha256() for column in COLUMNS}
        for rows in one.pieces(rows=piece):
            for column in COLUMNS:
                digests[column].update(rows[column].tobytes())
    assert {column: digest.hexdigest() for column, digest in digests.items()} == {
        column: expected[column]["sha256"] for column in COLUMNS
    }


@pytest.mark.parametrize("name, kind, platform, dwell", GOLDEN)
def test_what_is_written_is_what_v2_writes(name, kind, platform, dwell, shared_data, tmp_path):
    """Copied by way of our reader and writer, read by h5py alone: names, types, pieces, packing and values."""
    source = shared_data / "golden" / "bins" / name
    merge_bins([source], tmp_path / "copy", BinFormat.of(kind, platform, dwell), platform)
    with h5py.File(source) as ours, h5py.File(tmp_path / "copy") as theirs:
        assert sorted(ours) == sorted(theirs) == sorted(COLUMNS)
        for column in COLUMNS:
            assert sizes_and_packing(ours[column]) == sizes_and_packing(theirs[column])
            assert (ours[column][:] == theirs[column][:]).all()


def test_attributes_say_what_a_bin_is(tmp_path):
    path = write(tmp_path / "bin", made_rows(3), seed=5)
    found = {"format_version": 1, "platform": "ont", "kind": "pileup", "channels": 18, "seed": 5}
    attributes = dict(Bin(path).attributes)
    assert attributes.pop("tool_version") and attributes == found
    assert Bin(write(tmp_path / "plain", platform=None)).attributes.keys() == found.keys() - {"platform", "seed"} | {
        "tool_version"
    }


def test_bins_of_pytables_are_read(tmp_path):
    """What Clair3 before 2.0 wrote: the same nodes, other attributes and pieces, wider or plain labels."""
    rows = made_rows(30)
    with h5py.File(tmp_path / "old", "w") as file:
        file.attrs.update({"CLASS": np.bytes_("GROUP"), "PYTABLES_FORMAT_VERSION": np.bytes_("2.1"), "TITLE": ""})
        for name, values, rows_together in (
            ("position_matrix", rows.position_matrix, 7),
            ("label", rows.label.astype(np.int32), 30),
            ("position", np.array(rows.position, "S100")[:, None], 11),
            ("alt_info", np.array(rows.alt_info, "S5000")[:, None], None),
        ):
            pieces = {"chunks": (rows_together, *values.shape[1:]), "maxshape": (None, *values.shape[1:])}
            dataset = file.create_dataset(name, data=values, **(pieces if rows_together else {}))
            dataset.attrs.update({"CLASS": np.bytes_("EARRAY"), "EXTDIM": np.int32(0), "VERSION": np.bytes_("1.1")})
    assert_same_rows(whole(tmp_path / "old"), rows)
    assert Bin(tmp_path / "old").attributes == {}
    assert merge_bins([tmp_path / "old"] * 2, tmp_path / "new", SMALL, "hifi") == 60
    assert (whole(tmp_path / "new")["position_matrix"][30:] == rows.position_matrix).all()


@settings(max_examples=25)
@given(st.lists(st.integers(0, 12), max_size=8), st.integers(1, 9), st.data())
def test_rows_come_back_however_they_are_cut(tmp_path_factory, counts, chunk_rows, data):
    path = tmp_path_factory.mktemp("bins") / "bin"
    parts = [made_rows(count, seed=i) for i, count in enumerate(counts)]
    write(path, *parts, chunk_rows=chunk_rows)
    with Bin(path) as one:
        assert len(one) == sum(counts)
        start = data.draw(st.integers(0, len(one)))
        stop = data.draw(st.integers(start, len(one)))
        found = one.rows(start, stop, COLUMNS)
        pieces = list(one.pieces(rows=data.draw(st.integers(1, 9))))
    expected = np.concatenate([np.empty((0, 33, 18), np.int32), *(part.position_matrix for part in parts)])
    assert (found["position_matrix"] == expected[start:stop]).all() and len(found["label"]) == stop - start
    texts = [text for part in parts for text in part.alt_info]
    assert found["alt_info"].tolist() == texts[start:stop]
    assert [text for piece in pieces for text in piece["alt_info"].tolist()] == texts


def test_the_same_rows_are_the_same_bytes(tmp_path):
    first, second = (write(tmp_path / name, made_rows(7), seed=1).read_bytes() for name in ("first", "second"))
    assert first == second


def test_rows_beyond_the_end_are_an_error_of_the_program(tmp_path):
    with Bin(write(tmp_path / "bin", made_rows(3))) as one:
        for start, stop in ((0, 4), (-1, 2), (2, 1)):
            with pytest.raises(IndexError):
                one.rows(start, stop)


def test_long_texts_are_cut_and_counted(tmp_path):
    rows = made_rows(2)
    rows.position[1], rows.alt_info[0] = b"c" * 90, b"9-" + b"A" * 5000
    with write_bin(tmp_path / "bin", SMALL, "ont") as writer:
        writer.append(rows)
    assert writer.cut == 2
    found = whole(tmp_path / "bin")
    assert found["position"][1] == b"c" * 83 and found["alt_info"][0] == b"9-" + b"A" * 4998


# Worker processes


def row_sum(task: tuple[Bin, int]) -> int:
    one, start = task
    return int(one.rows(start, start + 5)["position_matrix"].sum())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_open_a_bin_for_themselves(method, tmp_path):
    """Also one that the parent has read from: HDF5 must not share a handle over a fork."""
    rows = made_rows(40)
    one = Bin(write(tmp_path / "bin", rows, chunk_rows=7))
    one.rows(0, 40)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        sums = list(pool.map(row_sum, [(one, start) for start in range(0, 40, 5)]))
    assert sums == [rows.position_matrix[start : start + 5].sum() for start in range(0, 40, 5)]
    assert_same_rows(one.rows(0, 40, COLUMNS), rows)


def test_an_open_bin_travels_without_its_handle(tmp_path):
    one = Bin(write(tmp_path / "bin", made_rows(3)))
    copy = pickle.loads(pickle.dumps(one))
    assert not copy._files and (copy.rows(0, 3)["label"] == one.rows(0, 3)["label"]).all()
    one.close()
    assert len(one.rows(1, 3)["label"]) == 2  # opened again


# Merging


@pytest.mark.parametrize("kind, dwell", [(PILEUP, False), (FULL_ALIGNMENT, False), (FULL_ALIGNMENT, True)])
def test_merging_puts_bins_one_after_the_other(kind, dwell, tmp_path):
    form = BinFormat.of(kind, "ont", dwell)
    parts = [made_rows(count, form, seed) for seed, count in enumerate((3, 0, 5))]
    paths = [write(tmp_path / f"t_{i}", part, form=form) for i, part in enumerate(parts)]
    options = ["--pileup"] * (kind == PILEUP) + ["--enable_dwell_time"] * dwell
    clair3(["MergeBin", *map(str, paths), f"--out_fn={tmp_path / 'all'}", *options])
    found = whole(tmp_path / "all")
    assert found["position"].tolist() == [text for part in parts for text in part.position]
    assert (found["position_matrix"] == np.concatenate([part.position_matrix for part in parts])).all()
    assert Bin(tmp_path / "all").platform == "ont"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "t_0", "t_1", "t_2"]


def refused(capsys, *argv) -> str:
    with pytest.raises(SystemExit) as stopped:
        clair3([str(word) for word in argv])
    error = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code in (1, 2) and error.startswith("[ERROR] ")
    return error


@pytest.mark.parametrize(
    "form, platform, options, words",
    [
        (SMALL, "ont", (), "give --pileup for pileup bins only"),
        (BinFormat.of(FULL_ALIGNMENT, "ont"), "ont", ("--pileup",), "give --pileup for pileup bins only"),
        (BinFormat.of(FULL_ALIGNMENT, "hifi"), "hifi", ("--platform=ont",), "--platform=hifi or ilmn"),
        (BinFormat.of(FULL_ALIGNMENT, "hifi"), "hifi", ("--platform=ilmn",), "made for --platform=hifi, not for ilmn"),
        (SMALL, "hifi", ("--pileup", "--platform=ont"), "made for --platform=hifi, not for ont"),
        (BinFormat.of(FULL_ALIGNMENT, "ont", True), "ont", (), "nine channels need --enable_dwell_time"),
        (BinFormat.of(FULL_ALIGNMENT, "ont"), "ont", ("--enable_dwell_time",), "eight do without"),
        (SMALL, "ont", ("--pileup", "--enable_dwell_time"), "--enable_dwell_time is for full alignment"),
        (SMALL, "ont", ("--pileup", "--chunk_rows=0"), "--chunk_rows=0"),
    ],
)
def test_bins_of_another_kind_are_refused(form, platform, options, words, tmp_path, capsys):
    path = write(tmp_path / "bin", made_rows(2, form), form=form, platform=platform)
    assert words in refused(capsys, "MergeBin", path, f"--out_fn={tmp_path / 'all'}", *options)
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_merging_into_an_input_is_refused(tmp_path, capsys):
    path = write(tmp_path / "bin", made_rows(2))
    assert "one of the bins" in refused(capsys, "MergeBin", path, path, f"--out_fn={path}", "--pileup")
    assert len(Bin(path)) == 2


def test_further_datasets_are_told_of(tmp_path, caplog):
    path = write(tmp_path / "bin", made_rows(2))
    with h5py.File(path, "a") as file:
        file["hp_labels"] = np.zeros(2)
    merge_bins([path], tmp_path / "all", SMALL, "ont")
    assert "hp_labels is not copied" in caplog.text and Bin(tmp_path / "all").extra == []


# Bad files


def test_folders_of_bins(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        find_bins(tmp_path / "none")
    with pytest.raises(InputError, match="no training bins in it"):
        find_bins(tmp_path)
    for name in ("bin_b_1000_1", "bin_a_1000_2", ".bin.partial"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    assert [path.name for path in find_bins(tmp_path)] == ["bin_a_1000_2", "bin_b_1000_1"]
    assert [path.name for path in find_bins(tmp_path, ("_a_", "x"))] == ["bin_b_1000_1"]


def test_files_that_are_no_bins(tmp_path):
    with pytest.raises(InputError, match="no such bin"):
        Bin(tmp_path / "none")
    for content in (b"", b"text"):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(InputError, match="other: cannot be read as a training bin; it is no HDF5 file"):
            Bin(tmp_path / "other")
    with h5py.File(tmp_path / "other", "w") as file:
        file["label"] = np.zeros((2, 90))
    with pytest.raises(InputError, match="lacks position_matrix, position, alt_info"):
        Bin(tmp_path / "other")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_truncated_bins(tmp_path, kept):
    path = write(tmp_path / "bin", made_rows(50))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match="truncated, make it again"):
        Bin(path)


def test_damage_inside_is_found_where_it_is(tmp_path, capsys):
    path = write(tmp_path / "bin", *(made_rows(5, seed=seed) for seed in range(4)), chunk_rows=5)
    with h5py.File(path) as file:
        place = file["position_matrix"].id.get_chunk_info(2)
    content = bytearray(path.read_bytes())
    content[place.byte_offset : place.byte_offset + 16] = bytes(16)
    path.write_bytes(content)
    with Bin(path) as one:
        assert len(one.rows(0, 10)["label"]) == 10
        with pytest.raises(InputError, match="rows 8 to 13 are damaged"):
            one.rows(7, 13)
    assert "are damaged" in refused(capsys, "inspect", "--check", path)


def test_datasets_that_do_not_fit_each_other(tmp_path):
    path = write(tmp_path / "bin", made_rows(5))
    with h5py.File(path, "a") as file:
        file["label"].resize(4, axis=0)
    with pytest.raises(InputError, match="its datasets differ in rows"):
        Bin(path)
    with h5py.File(tmp_path / "odd", "w") as file:
        for name in COLUMNS:
            file[name] = np.zeros((2, 5))
    with pytest.raises(InputError, match=r"tensors of \(5,\) and labels of \(5,\)"):
        Bin(tmp_path / "odd")


def test_a_bin_that_fails_is_not_there(tmp_path):
    path = write(tmp_path / "bin", made_rows(5))
    with pytest.raises(InputError, match="in the middle"), write_bin(path, SMALL, "ont", chunk_rows=2) as writer:
        writer.append(made_rows(3))
        raise InputError("in the middle")
    assert [path.name for path in tmp_path.iterdir()] == ["bin"] and len(Bin(path)) == 5  # the one from before
    with pytest.raises(InputError, match="cannot be written"), write_bin(tmp_path / "no" / "bin", SMALL, "ont"):
        pass


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
sys.path[:0] = ["tests/io", "tests/helpers", "."]
from test_bins import made_rows, write
from clair3.errors import InputError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    write(Path(sys.argv[1]), *(made_rows(200, seed=seed) for seed in range(4)), chunk_rows=100)
except InputError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("room", [0, 100, 5_000, 200_000])
def test_a_full_disk_is_a_sentence(room, tmp_path):
    """In a process of its own, since HDF5 may end it: it is not made to close a file that it cannot."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "bin"), str(room)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    words = f"{tmp_path / 'bin'}: cannot be written (File too large); check the folder and the disk\n"
    assert (found.returncode, found.stderr) == (1, words) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["h5py", "hdf5plugin"])
def test_a_library_that_is_not_there_is_a_sentence(name):
    start = f"import sys; sys.modules[{name!r}] = None; from clair3.cli.main import main; main(['inspect', 'x'])"
    found = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 1 and found.stderr.startswith(
        f"[ERROR] {name} is missing; run {install_command('train')}"
    )
    assert len(found.stderr.splitlines()) == 1


# Formats and inspection


def test_every_shape_has_one_format():
    for platform, dwell in ((platform, dwell) for platform in PLATFORMS for dwell in (False, True)):
        form = BinFormat.of(FULL_ALIGNMENT, platform, dwell)
        assert bins.FORMATS[form.shape] == form and platform in form.platforms
    assert SMALL.platforms == tuple(PLATFORMS) and SMALL.shape == (33, 18)
    with pytest.raises(ConfigError, match="leave it or --pileup out"):
        BinFormat.of(PILEUP, "ont", dwell=True)


def test_inspect_tells_what_a_bin_holds(tmp_path, capsys):
    rows = made_rows(4)
    rows.label[:] = labels.one_hot(np.array([[0, 0, 16, 16], [0, 0, 16, 16], [16, 2, 16, 18], [10, 1, 15, 15]]))
    rows.position[3] = b"HLA:A*01:7:ACGT"
    clair3(["inspect", str(write(tmp_path / "bin", rows, seed=3)), "--check"])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    found = dict(line for line in lines[1:] if len(line) == 2)
    assert lines[0] == [str(tmp_path / "bin")] and found["rows"] == "4" and found["platform"] == "ont"
    assert found["tensors"] == "pileup tensors of 33 x 18, int32" and found["made"].endswith("seed 3")
    assert found["contigs"] == "chr1 3, HLA:A*01 1" and found["packing"].startswith("blosc, 500 rows a piece")
    assert found["genotypes"] == "AA 2, DelDel 1, AIns 1" and found["zygosity"] == "0/0 2, 1/1 1, 0/1 or 1/2 1"
    assert found["shorter"] == "-1 1, 0 3" and found["longer"] == "-1 1, 0 2, 2 1"


def test_inspect_knows_empty_bins_and_other_files(tmp_path, capsys):
    clair3(["inspect", str(write(tmp_path / "bin", platform=None))])
    out = capsys.readouterr().out
    assert "rows       0\n" in out and "contigs    none\n" in out and "that of ont and hifi and ilmn" in out
    assert "no HDF5 file" in refused(capsys, "inspect", __file__)
