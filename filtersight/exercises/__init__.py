"""The tests of the exercises. `check` finds them by the number of the exercise."""

from filtersight.basics.exercises import check as check
from filtersight.exercises import answers as answers
from filtersight.exercises import atlas as atlas
from filtersight.exercises import birth as birth
from filtersight.exercises import climbing as climbing
from filtersight.exercises import dead as dead
from filtersight.exercises import networks as networks
from filtersight.exercises import pictures as pictures
from filtersight.exercises import trust as trust
