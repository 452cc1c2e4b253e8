"""What CNN filters see: what the notebooks use, by chapter, in reading order.

Each line says in a sentence what a name is; help(name) says more, and the import says in which file to
read on. Chapter 4's own loop is filtersight/ascent/plain.py. The way to the pictures of chapter 6 leads through
waves.py (the image), objective.py (what is climbed), clear.py (the steps) and climb.py (the judgement) to
visualize.py, and rescue.py says what is tried with a dead picture, all in the same folder.

Images are RGB with values from 0 to 255 everywhere; each model does its own preprocessing.
"""

# ---------------------------------------------------------------- 1, model download

# A network by its name, from a file, or the one that is at hand.
from filtersight.networks.load import load_model as load_model

# The names of a model's convolution layers, from input to output.
from filtersight.networks.layers import conv_layers as conv_layers

# One figure of many pictures; and how a notebook shows a figure, with a text for those who cannot see it.
from filtersight.basics.figures import grid as grid
from filtersight.basics.figures import jpeg as jpeg
from filtersight.basics.figures import show as show

# A widget, with a still picture for where there are no widgets, as on GitHub.
from filtersight.basics.figures import show_widget as show_widget

# Says whether the answer to an exercise is right.
from filtersight.exercises import check as check

# ---------------------------------------------------------------- 2, submodels

# The model cut after a layer: images in, feature maps out.
from filtersight.networks.layers import submodel as submodel
from filtersight.networks.layers import filter_count as filter_count

# Mid grey plus uniform noise; and a photograph.
from filtersight.basics.images import random_image as random_image
from filtersight.basics.images import photo as photo

# ---------------------------------------------------------------- 3, random image

# How strongly each filter answers to each image: the mean over its map.
from filtersight.networks.layers import activations as activations

# From what gradient ascent has made of an image to a picture for a screen.
from filtersight.basics.images import deprocess as deprocess

# ---------------------------------------------------------------- 4, training loop

# One step uphill.
from filtersight.ascent.plain import gradient_step as gradient_step

# How many multiplications it takes to compute a layer for one image: what a picture will cost.
from filtersight.networks.layers import multiplications as multiplications

# A picture of what each filter responds to, with the facts that belong to it.
from filtersight.ascent.visualize import visualize as visualize
from filtersight.basics.figures import FilterPicture as FilterPicture

# Sliders for layer, filter and iterations beside a picture that grows.
from filtersight.explorer.explorer import explorer as explorer

# A number rounded to two digits, which holds on other processors too.
from filtersight.basics.checks import two_digits as two_digits

# ---------------------------------------------------------------- 5, grids

# Side in pixels of what one value of a layer's maps sees of the image.
from filtersight.networks.layers import receptive_field as receptive_field

# ---------------------------------------------------------------- 6, clear pictures

# Colours as natural images have them: brightness, blue to yellow, green to purple.
from filtersight.ascent.waves import COLOURS as COLOURS

# ---------------------------------------------------------------- 8, dead filters

# What is the matter with a filter, with the evidence in words and pictures.
from filtersight.trust.doctor import diagnose as diagnose

# Real images to judge silent filters by, and how to make them of another size.
from filtersight.world.sample import sample as sample
from filtersight.basics.images import tiled_to as tiled_to

# ---------------------------------------------------------------- 9, trust

# Numbers that say how far a picture can be trusted; and a game that asks whether it helps.
from filtersight.trust.scores import scores as scores
from filtersight.trust.quiz import quiz as quiz

# What the numbers are made of: real images and their answers, and an image shifted and turned in 16 ways.
from filtersight.trust.scores import held_out as held_out
from filtersight.trust.scores import reality as reality

# ---------------------------------------------------------------- 10, any network

# What the course understood of a model, and what it could not tell.
from filtersight.networks.describe import describe as describe

# The names of a network's classes.
from filtersight.trust.why import class_names as class_names

# ---------------------------------------------------------------- 11, why

# Why a network said so: the filters that drove an answer, and where in the image it came from.
from filtersight.trust.why import explain as explain

# Its parts: the answer, a model laid open at a layer, and where covering the image hurts.
from filtersight.trust.why import agreement as agreement
from filtersight.trust.why import image_for as image_for
from filtersight.trust.why import last_maps as last_maps
from filtersight.trust.why import occlusion as occlusion
from filtersight.trust.why import opened as opened
from filtersight.trust.why import predictions as predictions

# ---------------------------------------------------------------- 13, atlas

# Every filter of a network, drawn into a folder; as a web page; and a saved picture made again.
from filtersight.atlas.atlas import atlas as atlas
from filtersight.atlas.gallery import gallery as gallery
from filtersight.ascent.visualize import rerun as rerun

# Numbers by which pictures that look alike are found; and a network with its preprocessing before it.
from filtersight.atlas.signatures import signatures as signatures
from filtersight.networks.load import with_preprocessing as with_preprocessing
