"""Networks from files of Keras 2, and from .h5 files that Keras 3 writes but does not read again.

The configuration in the file is built anew, layer by layer, in today's terms: what is called or meant
differently now stands in the tables below. The weights then go to their layers by name. Nothing in the
file is run: TensorFlow's functions are taken by name from the tables; a Lambda's byte code is left to
Keras, which refuses it unless `keras.config.enable_unsafe_deserialization()` was called.
"""

from __future__ import annotations

import base64
import functools
import inspect
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np
import tensorflow as tf
from keras import ops
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer
from keras.src.legacy.saving import legacy_h5_format as h5_format
from keras.src.ops import core, image, linalg, math, nn
from keras.src.ops import numpy as numeric
from keras.src.saving import serialization_lib
from keras.src.utils.naming import to_snake_case

L = keras.layers


@keras.saving.register_keras_serializable("filtersight")
def hard_sigmoid_of_keras2(x: Any) -> Any:
    """Keras 3 has a steeper one under this name."""
    return ops.clip(0.2 * x + 0.5, 0, 1)


MODELS = {"Functional", "Model", "Sequential"}
TENSORFLOW = {"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"}
# Layers that are called otherwise today.
CLASSES = {
    "BatchNormalizationV1": L.BatchNormalization,
    "BatchNormalizationV2": L.BatchNormalization,
    "StochasticDepth": StochasticDepth,
    "SyncBatchNormalization": L.BatchNormalization,
    "Convolution2D": L.Conv2D,
    "CustomScaleLayer": CustomScaleLayer,
    "Deconvolution2D": L.Conv2DTranspose,
    "LayerScale": LayerScale,
    "RandomCrop": L.Resizing,
    "ThresholdedReLU": L.ReLU,
}
CLASSES |= {  # that do nothing but in training
    f"Random{what}": L.Identity
    for what in "Brightness Contrast Flip Height Rotation Translation Width Zoom".split()
}
KEYWORDS = {"LeakyReLU": {"alpha": "negative_slope"}, "ThresholdedReLU": {"theta": "threshold"}}
# Settings that are gone, with the values for which that makes no difference; None stands for any.
GONE: dict[str, tuple | None] = {
    **dict.fromkeys(["batch_input_shape", "input_dim", "input_length", "rng_type"]),
    **dict.fromkeys(["fused", "implementation", "virtual_batch_size", "autocast"]),
    **dict.fromkeys(["query_shape", "key_shape", "value_shape", "softmax_robust_masking"]),
    **dict.fromkeys(["renorm", "time_major", "causal"], (False, None)),
}
BASE = ("trainable", "noise_shape")  # that not all layers take
# Keras 2 stores the groups of these, and takes no notice of them.
GROUPED = {f"{kind}{size}D" for kind in ("DepthwiseConv", "SeparableConv") for size in (1, 2)}
GROUPED |= {f"Conv{size}DTranspose" for size in (1, 2, 3)}
# Layers of Keras 3 that read other files or run what is in this one.
REFUSED = {
    "TFSMLayer",
    "TorchModuleWrapper",
    "JaxLayer",
    "FlaxLayer",
    "StringLookup",
    "IntegerLookup",
}
REFUSED |= {"TextVectorization"}
TRAINING = ("_initializer", "_regularizer", "_constraint")  # endings of what only training needs
ACTIVATIONS = {"hard_sigmoid_of_keras2": hard_sigmoid_of_keras2, "softmax_v2": "softmax"}

# TensorFlow's functions, by their last name, as operations of Keras. Called as op(x), or op(x, y) …
SAME = {
    name: getattr(ops, operation)
    for operation, names in {
        "add": "add addv2 biasadd",
        "subtract": "subtract sub",
        "multiply": "multiply mul",
        "true_divide": "truediv divide realdiv",
        "maximum": "maximum",
        "minimum": "minimum",
        "negative": "negative neg",
        "power": "pow",
        "silu": "silu swish",
        "clip": "clip_by_value",
    }.items()
    for name in names.split()
} | {name: getattr(ops, name) for name in "abs exp sqrt square tanh relu relu6 sigmoid".split()}
# … and others, by the arguments that TensorFlow names.
OTHERS: dict[str, Callable] = {
    "softmax": lambda x, axis=-1: ops.softmax(x, -1 if axis is None else axis),
    "cast": lambda x, dtype: ops.cast(x, dtype),
    "concat": lambda values, axis: ops.concatenate(values, axis),
    "reduce_mean": lambda x, axis=None, keepdims=False: ops.mean(x, axis, keepdims),
    "reduce_sum": lambda x, axis=None, keepdims=False: ops.sum(x, axis, keepdims),
    "reduce_max": lambda x, axis=None, keepdims=False: ops.max(x, axis, keepdims),
    "getitem": lambda x, slice_spec: x[slice_spec],
    "bias_add": lambda x, bias, data_format="NHWC": ops.add(x, bias),
}
# Where there is none above, TensorFlow's own function is taken, if it only computes: these modules hold
# no other, and of the rest of TensorFlow these.
PURE = ("math", "nn", "image", "linalg", "signal", "raw_ops")
PURE_NAMES = set(
    "concat stack unstack pad transpose reshape squeeze expand_dims tile cast clip_by_value reverse where "
    "gather split one_hot identity stop_gradient broadcast_to ones_like zeros_like shape fill repeat roll "
    "slice strided_slice floor_div div einsum tensordot matmul norm convert_to_tensor constant".split()
)
RAW = set(
    "StridedSlice Mean Sum Max Min Prod Pad PadV2 MirrorPad Transpose Reshape Squeeze ExpandDims Cast Softmax "
    "LogSoftmax ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea MaxPool AvgPool LRN Rsqrt Log "
    "Log1p Softplus Softsign Elu Selu LeakyRelu Sign Floor Ceil Round FloorDiv FloorMod SquaredDifference Tile "
    "ReverseV2 DepthToSpace SpaceToDepth MatMul BatchMatMulV2 GatherV2 Sin Cos Reciprocal Identity Cumsum "
    "ClipByValue Greater GreaterEqual Less LessEqual SelectV2 ArgMax Div DivNoNan Conv2D Fill Shape Slice "
    "Equal NotEqual LogicalAnd LogicalOr LogicalNot OneHot StopGradient AdjustContrastv2 RGBToHSV HSVToRGB "
    "ZerosLike OnesLike BroadcastTo Erf Split Unpack".split()
)
# Those of the graph that take any number of tensors, and how their settings are written.
LISTS: dict[str, Callable] = {
    "ConcatV2": lambda values, more: ops.concatenate(values[:-1], int(values[-1])),
    "Pack": lambda values, more: ops.stack(values, more.get("axis", 0)),
    "AddN": lambda values, more: functools.reduce(ops.add, values),
    "Einsum": lambda values, more: ops.einsum(more["equation"], *values),
}
TYPES = {"DT_FLOAT": "float32", "DT_HALF": "float16", "DT_DOUBLE": "float64"}
KINDS: dict[str, Callable] = {
    "b": bool,
    "f": float,
    "i": int,
    "s": lambda text: base64.b64decode(text).decode(),
    "type": lambda text: TYPES.get(text, text.removeprefix("DT_").lower()),
}


@keras.saving.register_keras_serializable("filtersight")
class TensorFlowFunction(keras.Operation):
    """A function of TensorFlow that Keras has no operation for, as part of a network."""

    def __init__(self, function: str, name: str | None = None):
        super().__init__(name=name)
        self.function = function
        self.compute = pure_function(function)

    def call(self, *arguments: Any, **keywords: Any) -> Any:
        return self.compute(*arguments, **keywords)

    def compute_output_spec(self, *arguments: Any, **keywords: Any) -> Any:
        given = keras.tree.map_structure(dense, (arguments, keywords))
        return super().compute_output_spec(*given[0], **given[1])


def dense(value: Any) -> Any:
    """A tensor that is not sparse, as Keras believes the product with a number to be; else the value."""
    return (
        keras.KerasTensor(value.shape, value.dtype)
        if isinstance(value, keras.KerasTensor)
        else value
    )


def pure_function(path: str) -> Callable:
    """TensorFlow's function of that name, such as "image.resize"; ValueError unless it only computes."""
    root = tf.compat.v1 if path.startswith("compat.v1.") else tf
    module, _, name = path.removeprefix("compat.v1.").rpartition(".")
    place = root
    if module and module in PURE and (module != "raw_ops" or name in RAW):
        place = getattr(root, module)
    elif module or name not in PURE_NAMES:
        place = None
    function = getattr(place, name, None)
    if not callable(function) or name.startswith("_") or isinstance(function, type):
        raise ValueError(f"it uses TensorFlow's function {path!r}, which the course does not know")
    return function


class Built(NamedTuple):
    """A layer or model made from a configuration."""

    name: str  # in the file
    kind: str  # its class in the file
    trainable: bool
    thing: Any  # the layer; None for what has no weights
    parts: list[Built]  # of a model, in the order of the file, which is that of its weights, too


def written_by(path: str) -> str:
    """The version of Keras that wrote a file, such as "2.15.0"; empty if it is no model of Keras."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "metadata.json" not in archive.namelist():
                return ""
            return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
    if not h5py.is_hdf5(path):
        return ""
    with h5py.File(path, "r") as file:
        version = file.attrs.get("keras_version", "1") if "model_config" in file.attrs else ""
    return version.decode() if isinstance(version, bytes) else str(version)


def model_of(path: str) -> keras.Model:
    """The model in a file of Keras 2, or an .h5 of Keras 3; ValueError, in many words, if it cannot be built."""
    hook = None if written_by(path).startswith("3") else of_keras2
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            built = build(json.loads(archive.read("config.json"), object_hook=hook))
            stored = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(stored, "r") as file:
            fill_by_kind(built.parts, file)
        return built.thing
    with h5py.File(path, "r") as file:
        built = build(json.loads(file.attrs["model_config"], object_hook=hook))
        fill_by_name(built.parts, file["model_weights"])
    return built.thing


def of_keras2(settings: dict) -> dict:
    """The settings with another name for what has another meaning today."""
    return {
        key: hard_sigmoid_of_keras2.__name__
        if value == "hard_sigmoid" and key.endswith("activation")
        else value
        for key, value in settings.items()
    }


# ---------------------------------------------------------------- layers


def build(config: dict) -> Built:
    """The layer or model that a configuration describes."""
    kind, inner = config["class_name"].removeprefix("Custom>"), config["config"]
    if isinstance(inner, list):  # a Sequential of the first Keras 2
        inner = {"name": "sequential", "layers": inner}
    if kind == "Sequential":
        given = (config.get("build_config") or {}).get("input_shape")
        return sequential(inner, given or inner.get("build_input_shape"))
    if kind in MODELS and "layers" in inner:
        return Graph(inner).built()
    name, trainable = inner.get("name") or config["name"], bool(inner.get("trainable", True))
    if kind in TENSORFLOW:  # called by its Graph
        return Built(name, kind, trainable, None, [])
    if kind == "InputLayer":
        return Built(name, kind, trainable, input_of(inner), [])
    return Built(name, kind, trainable, layer_of(kind, inner, config), [])


def input_of(config: dict) -> keras.KerasTensor:
    if config.get("ragged"):
        raise ValueError(f"its input {config['name']!r} is ragged, which Keras 3 does not have")
    return keras.Input(
        batch_shape=shape_in(config), dtype=plain_dtype(config), name=plain_name(config["name"])
    )


def plain_name(name: str) -> str:
    return name.replace("/", "_")  # Keras 3 allows no other


def plain_dtype(config: dict) -> str | None:
    """The type or the policy, by its name."""
    dtype = config.get("dtype")
    return dtype["config"]["name"] if isinstance(dtype, dict) else dtype


def layer_of(kind: str, config: dict, whole: dict) -> keras.Operation:
    """A layer from its configuration, in today's terms."""
    find = keras.saving.get_registered_object
    own = find(whole.get("registered_name") or kind) or find(kind)
    if own is not None:
        return own.from_config(
            {key: value for key, value in config.items() if key != "batch_input_shape"}
        )
    if kind == "Lambda":
        return lambda_of(config)
    if is_operation(config):
        return operation_class(kind).from_config(plain(config))
    constructor: Any = CLASSES.get(kind) or getattr(L, kind, None)
    known = isinstance(constructor, type) and issubclass(constructor, L.Layer)
    if not known or kind in REFUSED:
        raise ValueError(f"Unknown layer: {kind!r}")
    config = translated(kind, config)
    if kind.startswith("Random"):  # of these only the crop does something but in training
        crop = {"height", "width"} if kind == "RandomCrop" else set()
        config = {key: config[key] for key in {"name", *crop}}
        config |= {"crop_to_aspect_ratio": True} if crop else {}
    inner = [key for key in ("layer", "backward_layer", "cell") if config.get(key)]
    if inner:  # a wrapper
        return constructor(**config | {key: build(config[key]).thing for key in inner})
    if "cells" in config:
        return constructor(**config | {"cells": [build(each).thing for each in config["cells"]]})
    takes = inspect.signature(constructor).parameters
    if all(each.kind is not each.VAR_KEYWORD for each in takes.values()):
        config = {key: value for key, value in config.items() if key in takes or key not in BASE}
    return constructor.from_config(config)


def translated(kind: str, config: dict) -> dict:
    """The settings of a layer of Keras 2 as Keras 3 takes them."""
    result = {}
    for key, value in config.items():
        if key.endswith(TRAINING) or key == "activity_regularizer":
            continue
        if key == "groups" and kind in GROUPED:
            continue
        if key in GONE:
            allowed = GONE[key]
            if allowed is None or value in allowed:
                continue
            raise ValueError(f"its layer {config['name']!r} has {key}={value!r}, which is gone")
        if key.endswith("activation"):
            value = activation_of(value)
        if key == "axis" and isinstance(value, list) and len(value) == 1:
            [value] = value
        if isinstance(value, dict) and value.get("type") == "ndarray":
            value = value["value"]
        result[KEYWORDS.get(kind, {}).get(key, key)] = value
    if "dtype" in result:
        result["dtype"] = plain_dtype(result)
    return result | {"name": plain_name(config["name"])}


def activation_of(value: Any) -> Any:
    """An activation function, by name or as a layer."""
    if isinstance(value, dict) and value.get("class_name") != "function":
        name = value["class_name"]
        return build(value).thing if hasattr(L, name) else name
    name = value["config"] if isinstance(value, dict) else value
    return ACTIVATIONS.get(name, name)


def lambda_of(config: dict) -> keras.layers.Layer:
    """A Lambda, whose byte code Keras allows or refuses."""
    function = config["function"]
    if isinstance(function, list):
        value = dict(zip(("code", "defaults", "closure"), function, strict=False))
        function = {"class_name": "__lambda__", "config": value}
    more = {key: config[key] for key in ("arguments", "dtype") if config.get(key)}
    name = plain_name(config["name"])
    safe = serialization_lib.in_safe_mode() is not False  # None, if nobody said anything
    return L.Lambda.from_config({"name": name, "function": function} | more, safe_mode=safe)


# ---------------------------------------------------------------- models


def sequential(config: dict, shape: list | None) -> Built:
    """A Sequential model; `shape` of its images, if it stands beside its layers."""
    layers, name = config["layers"], config["name"]
    if layers[0]["class_name"] == "InputLayer":
        shape = shape_in(layers[0]["config"])
        layers = layers[1:]
    elif layers[0]["class_name"] not in MODELS:
        shape = shape_in(layers[0]["config"]) or shape
    parts = [build(each) for each in layers]
    model = keras.Sequential([part.thing for part in parts], name=plain_name(name))
    if shape and not model.built:
        model.build(shape)
    return Built(name, "Sequential", bool(config.get("trainable", True)), model, parts)


def shape_in(config: dict) -> list | None:
    return config.get("batch_shape") or config.get("batch_input_shape")


class Graph:
    """A functional model on its way from the configuration to layers that call each other."""

    def __init__(self, config: dict):
        self.config = config
        self.layers = {each["name"]: each for each in config["layers"]}
        self.parts = {name: build(each) for name, each in self.layers.items()}
        self.made: dict[tuple[str, int], list] = {}  # outputs, by layer and the number of its use
        self.first: dict[str, int] = {}  # models within count their own making as a use
        uses = [each["inbound_nodes"] for each in config["layers"]]
        uses += [config["input_layers"], config["output_layers"]]
        for name, number in references(uses, self.layers):
            self.first[name] = min(number, self.first.get(name, number))

    def built(self) -> Built:
        for name, part in self.parts.items():
            if part.kind == "InputLayer":
                self.made[name, 0] = [part.thing]
        waiting = [
            (name, number, node)
            for name, layer in self.layers.items()
            for number, node in enumerate(layer["inbound_nodes"])
        ]
        while waiting:
            ready = [use for use in waiting if self.made.keys() >= self.needed(use[2])]
            if not ready:
                raise ValueError(f"its layer {waiting[0][0]!r} hangs on nothing")
            for name, number, node in ready:
                self.made[name, number] = keras.tree.flatten(self.call(name, node))
            waiting = [use for use in waiting if (use[0], use[1]) not in self.made]
        ends = [self.resolved(self.config[f"{end}_layers"]) for end in ("input", "output")]
        inputs, outputs = [each[0] if len(each) == 1 else each for each in map(listed, ends)]
        model = keras.Model(inputs, outputs, name=plain_name(self.config["name"]))
        parts = list(self.parts.values())
        trainable = bool(self.config.get("trainable", True))
        return Built(self.config["name"], "Functional", trainable, model, parts)

    def kind(self, name: str) -> str:
        return self.layers[name]["class_name"]

    def needed(self, node: Any) -> set[tuple[str, int]]:
        return {self.key(*each) for each in references(node, self.layers)}

    def key(self, name: str, number: int) -> tuple[str, int]:
        return name, number - (self.first[name] if self.kind(name) in MODELS else 0)

    def resolved(self, value: Any) -> Any:
        """The value with the tensors in the place of what stands for them."""
        reference = reference_in(value, self.layers)
        if reference is not None:
            name, number, place = reference
            return self.made[self.key(name, number)][place]
        if isinstance(value, list) and value and value[0] == "_CONSTANT_VALUE":
            return plain(value[2])
        if isinstance(value, list):
            return [self.resolved(each) for each in value]
        if isinstance(value, dict) and not {"class_name", "type", "start"} & {*value}:
            return {key: self.resolved(each) for key, each in value.items()}
        return plain(value, self.resolved)

    def arguments(self, node: Any) -> tuple[list, dict]:
        """What a layer is called on, in any of the ways in which it is written down."""
        if isinstance(node, dict):  # Keras 3
            return self.resolved(node["args"]), self.resolved(node["kwargs"])
        entries = [node] if node and isinstance(node[0], str) else node
        more = entries[0][3] if len(entries[0]) > 3 else {}
        given = [self.resolved(entry[:3]) for entry in entries]
        return [given[0] if len(given) == 1 else given], self.resolved(more)

    def call(self, name: str, node: Any) -> Any:
        arguments, keywords = self.arguments(node)
        layer = self.layers[name]
        if layer["class_name"] == "TensorFlowOpLayer":
            return named(raw_operation(layer["config"], listed(arguments[0])), name)
        if layer["class_name"] in TENSORFLOW:
            function = layer["config"].get("function") or "__operators__.getitem"
            return named(tensorflow_function(function, arguments, keywords), name)
        if not is_operation(layer["config"]):
            keywords = {key: value for key, value in keywords.items() if value is not None}
        return self.parts[name].thing(*arguments, **keywords)


def reference_in(value: Any, layers: dict) -> tuple[str, int, int] | None:
    """Layer, number of its use and of its output, where a value stands for a tensor."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return tuple(value["config"]["keras_history"])
    if not isinstance(value, list) or [type(each) for each in value[:3]] != [str, int, int]:
        return None
    return tuple(value[:3]) if value[0] in layers else None


def references(value: Any, layers: dict) -> Iterator[tuple[str, int]]:
    """The layers, and numbers of their uses, that are named anywhere in a value."""
    reference = reference_in(value, layers)
    if reference is not None:
        yield reference[:2]
    inside = value.values() if isinstance(value, dict) else value
    for each in inside if isinstance(value, (dict, list)) else ():
        yield from references(each, layers)


def listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def plain(value: Any, resolved: Callable = lambda each: each) -> Any:
    """A value in a configuration that is no layer: a slice, an array, a tensor, or what it is."""
    if not isinstance(value, dict):
        return value
    if set(value) == {"start", "stop", "step"}:
        return slice(*(resolved(value[key]) for key in ("start", "stop", "step")))
    if value.get("class_name") == "__ellipsis__":
        return ...
    inner: Any = value.get("config", value.get("value"))
    if value.get("class_name") == "__slice__":
        return slice(*(resolved(inner[key]) for key in ("start", "stop", "step")))
    if value.get("class_name") == "TensorShape":
        return value["items"]
    if value.get("type") == "ndarray" or value.get("class_name") in {"__tensor__", "__numpy__"}:
        return inner["value"] if isinstance(inner, dict) else inner
    return {key: plain(each, resolved) for key, each in value.items()}


# ---------------------------------------------------------------- functions


def tensorflow_function(path: str, arguments: list, keywords: dict) -> Any:
    """What a function of TensorFlow gives, as an operation of Keras if there is one."""
    keywords = {key: value for key, value in keywords.items() if key != "name"}
    module, _, name = path.rpartition(".")
    known = module in {"", "__operators__", "math", "nn"}
    if known and name in SAME:
        return SAME[name](*(array(each) for each in (*arguments, *keywords.values())))
    if known and name in OTHERS and keywords.get("data_format") != "NCHW":
        return OTHERS[name](*arguments, **{key: array(each) for key, each in keywords.items()})
    return TensorFlowFunction(path)(*arguments, **keywords)


def named(result: Any, name: str) -> Any:
    """Tensors, of which the operation that made them gets the name that it has in the file."""
    for each in keras.tree.flatten(result):
        operation = each._keras_history.operation
        if not isinstance(operation, L.Layer):  # else nothing was to be done
            operation.name = plain_name(name)
    return result


def array(value: Any) -> Any:
    """A list of numbers as an array, of the type of images; any other as a tuple."""
    if isinstance(value, list) and any(
        isinstance(each, float) for each in keras.tree.flatten(value)
    ):
        return np.asarray(value, np.float32)
    return tuple(value) if isinstance(value, list) else value


def raw_operation(config: dict, inputs: list) -> Any:
    """What an operation of TensorFlow's graph gives, as Keras 2.1 to 2.3 stored them."""
    node = config["node_def"]
    node = json.loads(node) if isinstance(node, str) else node
    kind = node["op"]
    for place, value in sorted((int(place), value) for place, value in config["constants"].items()):
        constant = np.asarray(value)
        small = {"f": np.float32, "i": np.int32}.get(constant.dtype.kind, constant.dtype)
        inputs.insert(place, constant.astype(small))
    if kind.lower() in SAME:
        return SAME[kind.lower()](*inputs)
    settings = {
        key.replace("squeeze_dims", "axis"): attribute(value)
        for key, value in node.get("attr", {}).items()
    }
    if kind in LISTS:
        return LISTS[kind](inputs, settings)
    function = TensorFlowFunction(f"raw_ops.{kind}")
    names = list(inspect.signature(function.compute).parameters)
    given = dict(zip(names, inputs, strict=False))
    return function(**{key: value for key, value in settings.items() if key in names} | given)


def attribute(value: dict) -> Any:
    """A setting of an operation, from the way in which protocol buffers become JSON."""
    [(kind, inner)] = value.items() or [("list", {})]
    if kind == "list":
        return [
            each for (what, those) in inner.items() for each in map(KINDS.get(what, str), those)
        ]
    return KINDS.get(kind, str)(inner)


def is_operation(config: dict) -> bool:
    """Whether it is one of Keras 3's operations, which have no more settings than their arguments."""
    return "trainable" not in config and "dtype" not in config


def operation_class(kind: str) -> type[keras.Operation]:
    for module in (numeric, nn, image, core, math, linalg):
        found = getattr(module, kind, None)
        if isinstance(found, type) and issubclass(found, keras.Operation):
            return found
    raise ValueError(f"Unknown layer: {kind!r}")


# ---------------------------------------------------------------- weights


def variables(built: Built) -> tuple[list, list]:
    """The trainable weights and the others, in the order in which Keras 2 stores them."""
    if built.kind in MODELS:
        pairs = [variables(part) for part in built.parts]
        trained, others = ([each for pair in pairs for each in pair[side]] for side in (0, 1))
    elif isinstance(built.thing, L.Layer):
        trained, others = built.thing.trainable_weights, built.thing.non_trainable_weights
    else:
        trained, others = [], []
    return (trained, others) if built.trainable else ([], trained + others)


# Names that a weight has in Keras 2 and 3.
WEIGHTS = {"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "mean", "variance"}


def fill_by_name(parts: list[Built], group: h5py.Group) -> None:
    """Gives the layers their weights from an .h5 file."""
    for part in parts:
        trained, others = variables(part)
        inside = group.get(part.name, group)
        names = h5_format.load_attributes_from_hdf5_group(inside, "weight_names")
        values = [np.asarray(inside[name]) for name in names]
        weights = [*trained, *others]
        if [each.shape for each in values] != [tuple(each.shape) for each in weights]:
            raise ValueError(f"the weights of its layer {part.name!r} are of other shapes")
        for weight, name, value in zip(weights, names, values, strict=True):
            stored = name.rpartition("/")[2].partition(":")[0]
            if {stored, weight.name} <= WEIGHTS and stored != weight.name:
                raise ValueError(f"the weights of its layer {part.name!r} stand in another order")
            weight.assign(value)
        finalize(part)


def finalize(part: Built) -> None:
    """A Normalization computes what it needs from its weights once."""
    for each in part.parts:
        finalize(each)
    if isinstance(part.thing, L.Normalization):
        part.thing.finalize_state()


def fill_by_kind(parts: list[Built], group: h5py.Group) -> None:
    """Gives the layers their weights from a .keras file, where they are numbered by class."""
    inside = group["layers" if "layers" in group else "_layer_checkpoint_dependencies"]
    for part, name in zip(parts, numbered([part.kind for part in parts]), strict=True):
        if part.kind in MODELS:
            fill_by_kind(part.parts, inside[name])
        elif isinstance(part.thing, L.Layer):
            filled: set[int] = set()
            fill(part.thing, inside[name], filled)
            if not filled >= {id(each) for each in part.thing.weights}:
                raise ValueError(f"the weights of its layer {part.name!r} stand in another way")


def numbered(kinds: list[str]) -> list[str]:
    """How things of these classes are called in a .keras file: "dense", "dense_1" …"""
    names = [to_snake_case(kind) for kind in kinds]
    before = [names[:place].count(name) for place, name in enumerate(names)]
    return [f"{name}_{count}" if count else name for name, count in zip(names, before, strict=True)]


def fill(layer: keras.layers.Layer, group: h5py.Group, filled: set[int]) -> None:
    """Gives a layer, and the layers in it, their weights; `filled` gets the ids of these."""
    own = [*layer._trainable_variables, *layer._non_trainable_variables]
    if ("vars" in group and len(group["vars"])) or (own and len(group) == 1):
        layer.load_own_variables(group["vars"])
        filled.update(map(id, own))
    for name in group:
        inner = getattr(layer, name, None)
        if name == "_layer_checkpoint_dependencies":
            inner = layer.layers
        if isinstance(inner, L.Layer):
            fill(inner, group[name], filled)
        elif isinstance(inner, list):
            for each, place in zip(
                inner, numbered([type(each).__name__ for each in inner]), strict=True
            ):
                fill(each, group[name][place], filled)
