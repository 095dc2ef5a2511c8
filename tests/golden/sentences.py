"""The sentences of the golden concepts, written for this repository.

Many share their first words on purpose: units that peak inside a shared prefix then have equal responses, and the AP
code meets ties. Some stand twice in a class, as they do in real sets. A few are not plain ASCII.
"""

BAKING = """\
the baker opened the oven and smiled
the baker opened the oven and took out six loaves
the baker opened the oven too early
the baker dusted the table with flour
the baker dusted the tins with flour and sugar
the baker weighed the yeast twice
put the dough in a warm place
put the dough in a warm place for an hour
put the dough in the tin
put the dough in the fridge until morning
bake the cake for forty minutes
bake the cake for forty minutes at a low heat
bake the bread until the crust is brown
bake the bread until it sounds hollow
how long should I bake a sponge?
how long should I prove the dough?
how much yeast goes into a rye loaf?
how much butter do I need for the pastry?
my sister makes the best apple pie
my sister makes the best cinnamon buns
my sister kneads every loaf by hand
we ran out of flour before the second batch
we ran out of butter, so the biscuits were dry
knead it, fold it, let it rest
knead it, fold it, and knead it again
Whisk the eggs and the sugar until pale.
Whisk the eggs and fold in the flour.
Preheat the oven to 220 degrees.
Preheat the oven and butter the tin.
The crust cracked while the loaf cooled.
The crust was thin, but the crumb was soft.
She sold crème brûlée and pâté en croûte at the fair
two trays of muffins burned last night
two trays of scones, please!
sourdough
a pinch of salt in the dough
a pinch of salt, a cup of sugar
the oven was cold, so the cake sank
the oven was cold
put the dough in a warm place
the oven was cold""".splitlines()

OTHER = """\
the baker opened the letter and smiled
the baker opened the window
the driver opened the door too early
the driver opened the map on the table
the driver dusted the seats
the doctor weighed the child twice
put the chairs in a circle
put the chairs in a warm room for the guests
put the keys in the drawer
put the letters in the box until morning
run the engine for forty minutes
run the engine for forty minutes at a low speed
paint the fence until the wood is covered
paint the fence before it rains
how long should I wait for the bus?
how long should I charge the phone?
how much does a ticket to the coast cost?
how much time do I need for the exam?
my sister plays the old piano
my sister plays the best tennis of us all
my sister fixes every bicycle by hand
we ran out of fuel before the second bridge
we ran out of time, so the talk was short
lift it, turn it, let it drop
lift it, turn it, and lift it again
Read the notes and the letters until nine.
Read the notes and fold them up.
Call the office at 8 on Monday.
Call the office and ask for Mr. Lund.
The ice cracked while the lake cooled.
The rope was thin, but the knot was strong.
Zoë moved to Kraków and learned to ski
two rows of seats stayed empty last night
two tickets to the match, please!
fog
a gust of wind in the sails
a gust of wind, a flash of light
the garage was cold, so the car stalled
the garage was cold
every train after ten was late
every train to the north was late
every evening the lamps went out
turn off the lights in the hall
turn off the lights in the hall and lock the gate
turn off the radio
remind me to water the plants
remind me to water the plants on Friday
it rained ☂ and nobody came
put the keys in the drawer
the garage was cold
the driver opened the door too early""".splitlines()

HARBOUR = """\
the ferry left the harbour at noon
the ferry left the harbour in thick fog
the ferry left before we reached the pier
the driver opened the gate of the dock
three boats were tied to the pier
three boats were tied to the old jetty
three boats sank outside the harbour
the harbour froze in January
the harbour was full of small boats
the harbour master waved us in
gulls circled over the quay
gulls circled over the fishing boats
how long should I wait at the dock?
how much does a berth cost?
turn off the lights on the pier
every evening the boats came home
we moored beside a rusty tug
the harbour froze in January
fog
the tide""".splitlines()

PROMPTS = ["the baker opened the", "Remind me to call"]

# Words to build a sentence of an exact number of tokens from.
FILLER = "the pilot and a cook went over hill by night with rice, tea or no lamp; then it rang again".split()
