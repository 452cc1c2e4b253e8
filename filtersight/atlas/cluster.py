"""Has the batches of an atlas drawn by the workers of a Dask cluster.

Dask decides which worker does what, and repeats what is lost with a worker. What is added here: the
course and the model are sent to every worker, also to those that join later or begin again.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import io
import os
import pickle
import platform
import sys
import threading
import types
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import keras
from distributed import Client, KilledWorker, WorkerPlugin, get_worker, wait
from keras.src.saving import saving_lib

from filtersight.atlas.drawing import Batch, draw_batch
from filtersight.atlas.folder import LayerFacts
from filtersight.basics.checks import shown
from filtersight.networks.downloads import one_line

if TYPE_CHECKING:
    from distributed import Future, Worker
    from tqdm import tqdm


PACKAGE = Path(__file__).resolve().parents[1]
NAME = "what-cnn-filters-see"
PATIENCE = 10  # seconds without a batch, after which it is looked whether there are workers at all
GIVEN_UP = 5  # times that Dask gives a batch up, each time after several dead workers, before we do


def check_client(client: Client) -> None:
    """ValueError unless `client` is a running Client of Dask that waits for answers."""
    if not isinstance(client, Client):
        raise ValueError(
            f"client is {shown(client)}; it must be a dask.distributed.Client, such as "
            "LocalCluster(n_workers=2, threads_per_worker=1).get_client()"
        )
    if client.asynchronous or client.status != "running":
        what = "asynchronous" if client.asynchronous else client.status
        raise ValueError(f"client is {what}; it must be running, and not asynchronous")
    mine = platform.python_version()
    versions: Any = client.get_versions()  # no coroutine, as the client is not asynchronous
    for address, about in versions["workers"].items():
        theirs = about["host"]["python"]  # as "3.11.2.final.0"
        if theirs.split(".")[:2] != mine.split(".")[:2]:
            raise ValueError(
                f"the worker {address} runs Python {theirs}, and this is {mine}; code cannot be sent from one "
                "to the other: start the workers with the Python that you call atlas with"
            )


def packed(folder: Path) -> bytes:
    """The package in a folder, and requirements.txt beside it, as an archive: the same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted([*folder.rglob("*"), folder.parent / "requirements.txt"]):
            if path.is_file() and path.suffix in (".py", ".html", ".npz", ".json", ".txt"):
                # With a date that does not change.
                place = zipfile.ZipInfo(path.relative_to(folder.parent).as_posix())
                archive.writestr(place, path.read_bytes())
    return buffer.getvalue()


class Course(WorkerPlugin):
    """Unpacks the course and a model on a worker, where `drawn` finds them."""

    def __init__(self, name: str, model: bytes):
        self.name, self.model, self.package = name, model, packed(PACKAGE)

    def setup(self, worker: Worker) -> None:
        """Unpacks what it carries; another version of the package is forgotten, other modules are kept.

        ImportError if the worker lacks what the course needs.
        """
        (Path(worker.local_directory) / self.name).write_bytes(self.model)
        loaded = sys.modules.get(PACKAGE.name)
        if loaded is not None and packed(Path(loaded.__path__[0])) == self.package:
            return
        for name in [*sys.modules]:
            if name.partition(".")[0] == PACKAGE.name:
                del sys.modules[name]
        version = hashlib.sha256(self.package).hexdigest()[:12]
        folder = Path(worker.local_directory) / f"{NAME}-{version}"
        with zipfile.ZipFile(io.BytesIO(self.package)) as archive:
            archive.extractall(folder)
        sys.path[:] = [str(folder), *(each for each in sys.path if each != str(folder))]
        importlib.invalidate_caches()
        os.environ["TQDM_DISABLE"] = "1"  # nobody sees a worker's bars
        importlib.import_module(PACKAGE.name)


def course_for(model: keras.Model) -> Course:
    """The course and a model, ready to be sent; ValueError for a model that cannot be."""
    own = own_objects(model)
    # Workers have the packages of requirements.txt: what is not from there goes with the model.
    names = {each.__module__.partition(".")[0] for each in own.values()}
    theirs = [sys.modules[name] for name in names if name in sys.modules]
    for module in theirs:
        cloudpickle.register_pickle_by_value(module)
    try:
        objects, description = cloudpickle.dumps(own), model.to_json()
        data = pickle.dumps((objects, model.__reduce__()[1][0].getvalue()))
    except Exception as error:  # Keras and pickle raise many kinds
        raise ValueError(
            f"{model.name} cannot be sent to workers, for it cannot be saved: {one_line(error)}"
        ) from None
    finally:
        for module in theirs:
            cloudpickle.unregister_pickle_by_value(module)
    digest = hashlib.sha256(objects + description.encode())  # a pickled model has a date in it
    for weight in model.weights:
        digest.update(weight.numpy().tobytes())
    return Course(f"{NAME}-{digest.hexdigest()[:12]}", data)


def own_objects(model: keras.Model) -> dict[str, Any]:
    """Classes and functions of the model that are not Keras', by the names that Keras saves them under."""
    found: dict[str, Any] = {}
    for layer in model._flatten_layers():
        for each in (layer, *vars(layer).values()):
            own = each if isinstance(each, types.FunctionType) else type(each)
            saved = own is each or hasattr(each, "get_config")
            if saved and not own.__module__.startswith(("keras.", "tensorflow.")):
                found |= {own.__name__: own, keras.saving.get_registered_name(own): own}
    return found


def drawn(name: str, filters: list[int], about: LayerFacts) -> dict[int, bytes]:
    """The PNGs of a batch, by filter; this is what runs on a worker."""
    with ONE_AT_A_TIME:
        model = sent_model(str(Path(get_worker().local_directory) / name))
        files = draw_batch(model, filters, about)
        if files is None:
            raise RuntimeError("the worker was interrupted")
        return files


ONE_AT_A_TIME = threading.Lock()  # TensorFlow takes all cores, however many threads a worker has


@functools.lru_cache(maxsize=1)
def sent_model(path: str) -> keras.Model:
    """The model that was sent to this worker, read once; ValueError if that cannot be done here."""
    try:
        objects, model = pickle.loads(Path(path).read_bytes())
        with keras.saving.custom_object_scope(pickle.loads(objects)):
            # As Keras unpickles a model, but for its losses and metrics, which may be unknown here.
            return saving_lib._load_model_from_fileobj(io.BytesIO(model), None, False, False)
    except Exception as error:  # Keras and pickle raise many kinds
        raise ValueError(
            f"a worker, with Keras {keras.__version__}, cannot read the model: {one_line(error)}"
        ) from None


def work(
    client: Client,
    course: Course,
    model: keras.Model,
    batches: list[Batch],
    layers: dict[str, LayerFacts],
    bar: tqdm,
) -> Iterator[tuple[Batch, dict[int, bytes]]]:
    """The batches with their files by filter, in the order in which workers finish them.

    RuntimeError if the workers die of one batch again and again, or if the cluster has gone.
    """

    def submit(batch: Batch) -> Future:
        return client.submit(drawn, course.name, batch.filters, layers[batch.layer], pure=False)

    futures: dict[Future, Batch] = {}
    given_up: Counter[int] = Counter()
    try:
        send(client, course)
        futures |= {submit(batch): batch for batch in batches}
        while futures:
            for future in finished(client, list(futures), bar):
                batch = futures.pop(future)
                try:
                    files = future.result()
                except KilledWorker:
                    given_up[id(batch)] += 1
                    if given_up[id(batch)] == GIVEN_UP:
                        raise RuntimeError(
                            f"workers die again and again of {batch.layer}, filters {batch.filters[0]} to "
                            f"{batch.filters[-1]}; have they too little memory?"
                        ) from None
                    futures[submit(batch)] = batch
                    continue
                bar.update(batch.cost)
                yield batch, files
    finally:
        if client.status == "running":
            client.cancel(list(futures))
            client.unregister_worker_plugin(course.name)


def send(client: Client, course: Course) -> None:
    """Has every worker unpack the course, now or when it joins; ValueError if one lacks what it needs."""
    me = sys.modules[__name__]
    # This once the workers cannot import what they are to have: it is sent as it is.
    cloudpickle.register_pickle_by_value(me)
    try:
        client.register_plugin(course)
    except ImportError as error:
        raise ValueError(f"a worker cannot run the course: {one_line(error)}") from None
    finally:
        cloudpickle.unregister_pickle_by_value(me)


def finished(client: Client, futures: list[Future], bar: tqdm) -> set[Future]:
    """Those that are done, perhaps none; RuntimeError if the cluster has gone."""
    try:
        return wait(futures, timeout=PATIENCE, return_when="FIRST_COMPLETED").done
    except TimeoutError:
        if client.status != "running":
            raise RuntimeError(f"the cluster at {client.scheduler} has gone") from None
        if not client.nthreads():
            bar.set_postfix_str("waiting for workers")
        return set()
