"""Words of the sentences in which servers talk about requests. As a part of a larger value they are not looked for by themselves."""

from __future__ import annotations

ORDINARY_WORDS = frozenset(
    b"""about after again already also another argument array assertion attempt available because been before begin being between
    both bytes call called cannot cause caused characters check code column columns connection content convert converted correct
    correctly could data decode decoding default deadline dense dictionary different dimension does double element elements empty
    error errors even every example examples exceeded executor expect expected expression failed failure feature features field fields
    file find first float floating format found from function given graph have here index information input inputs instance instances
    int32 int64 integer internal into invalid item items java json just kernel key keys label last latency least left length less
    like line list load loaded longer lookup make match matching message method missing model models more most must name named names
    needs node nodes none null number numbers object once only operation operator other output outputs over parse parsed parsing
    path point position predict prediction processing python query range rank read record records refused regex request requests
    required result return right root rows running same serving server session shape signature size some source spec split start
    state statement status step still string strings such table tensor tensorflow test text than that their them then there these
    they thing this those thread through time times token tokens true false trying tuple type types unable under undefined unexpected
    unicode unknown unsupported until used using utf8 utf-8 valid value values version very wait want warning were what when where which
    while will with within without word words would write written wrong your""".split()
)
