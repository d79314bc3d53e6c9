"""Nodes kept for a reservation: who bursts there, and who was there before, goes when its owners come."""

from .tables import Scenario

LEP = "lep 0.47.1 job create --help, --allow-burst-to-other-reservation"
OURS = "decided here; see docs/scheduling.md"

SCENARIOS = (
    Scenario(
        "who-bursts-goes-when-the-owner-comes", 8, LEP,
        nodes="""n1 2 kept=r
                 n2 2 kept=s""",
        queues="""a quota=2
                  b quota=2""",
        running="""b1 b 2 n2 names=s keep
                   b2 b 2 n1 names=s bursts""",
        waiting="a1 a 2 names=r keep",
        evicted="b2 reserved a1",
        waits="a1 WaitsForEvicted",
    ),
    Scenario(
        "who-bursts-goes-even-where-it-cannot-be-preempted", 4, LEP + ": your job may be evicted",
        nodes="""n1 2 kept=r
                 n2 2 kept=s""",
        queues="""a quota=2
                  b quota=4""",
        running="""b1 b 2 n2 names=s keep
                   b2 b 2 n1 names=s bursts keep""",
        waiting="a1 a 2 names=r keep",
        evicted="b2 reserved a1",
        waits="a1 WaitsForEvicted",
    ),
    Scenario(
        "priority-and-fair-share-have-no-part-in-it", 8, LEP,
        nodes="""n1 2 kept=r
                 n2 2 kept=s""",
        queues="""a quota=0
                  b quota=4""",
        running="""b1 b 2 n2 names=s keep
                   b2 b 2 n1 names=s bursts keep p=125""",
        waiting="a1 a 2 names=r humble p=25",
        evicted="b2 reserved a1",
        waits="a1 WaitsForEvicted",
    ),
    Scenario(
        "what-was-there-before-goes-if-it-can-be-preempted", 4, OURS,
        nodes="n1 2 kept=r",
        queues="""a quota=1
                  b quota=1""",
        running="""b1 b 1 n1
                   b2 b 1 n1 keep""",
        waiting="""a1 a 1 names=r keep
                   a2 a 1 names=r""",
        evicted="b1 reserved a1",
        waits="""a1 WaitsForEvicted
                 a2 Unschedulable""",
    ),
    Scenario(
        "whoever-names-the-reservation-stays", 8, LEP + ": bound to those reservations",
        nodes="n1 2 kept=r",
        queues="""a quota=2
                  b quota=0""",
        running="b1 b 2 n1 names=r",
        waiting="a1 a 2 names=r",
        evicted="b1 reclaimed a1",
        waits="a1 WaitsForEvicted",
    ),
    Scenario(
        "no-more-go-than-have-to", 8, "the smallest sufficient set",
        nodes="""n1 4 kept=r
                 n2 2 kept=s""",
        queues="""a quota=4
                  b quota=4""",
        running="""b1 b 2 n2 names=s keep
                   b2 b 1 n1 names=s bursts
                   b3 b 2 n1 names=s bursts
                   a1 a 1 n1 names=r""",
        waiting="a2 a 2 names=r",
        evicted="b3 reserved a2",
        waits="a2 WaitsForEvicted",
    ),
    Scenario(
        "guaranteed-time-holds-for-those-who-burst", 16, "what the pool promises to all who start there",
        nodes="""n1 2 kept=r
                 n2 2 kept=s""",
        queues="""a quota=2
                  b quota=4""",
        running="""b1 b 2 n2 names=s keep
                   b2 b 2 n1 names=s bursts protected""",
        waiting="a1 a 2 names=r",
        waits="a1 Unschedulable",
    ),
    Scenario(
        "the-quota-of-the-owner-holds", 4, "Run:ai: a reservation is no quota",
        nodes="n1 2 kept=r",
        queues="""a quota=1
                  b quota=2""",
        running="b1 b 2 n1 names=s bursts",
        waiting="a1 a 2 names=r keep",
        waits="a1 NonPreemptibleOverQuota",
    ),
    Scenario(
        "the-limit-of-the-owner-holds", 5, "Run:ai: the limit binds everybody",
        nodes="n1 2 kept=r",
        queues="""a quota=1 limit=1
                  b quota=2""",
        running="b1 b 2 n1 names=s bursts",
        waiting="a1 a 2 names=r",
        waits="a1 OverLimit",
    ),
    Scenario(
        "whoever-only-bursts-takes-nothing-from-an-owner", 10, LEP + ": it would be taken back",
        nodes="""n1 2 kept=r
                 n2 2 kept=s""",
        queues="""a quota=0
                  b quota=4""",
        running="""a1 a 2 n1 names=r
                   b1 b 2 n2 names=s keep""",
        waiting="b2 b 2 names=s bursts",
        waits="b2 Unschedulable",
    ),
    Scenario(
        "whoever-bursts-takes-from-others-who-burst-by-the-usual-rules", 11, "rule 11",
        nodes="""n1 2 kept=r
                 n2 2 kept=s""",
        queues="b quota=4",
        running="""b1 b 2 n2 names=s keep
                   b2 b 2 n1 names=s bursts p=25""",
        waiting="b3 b 2 names=s bursts p=80",
        evicted="b2 preempted b3",
        waits="b3 WaitsForEvicted",
    ),
    Scenario(
        "an-owner-whose-work-bursts-elsewhere-comes-home-only-for-what-waits", 8, LEP,
        nodes="""n1 2 kept=r
                 n2 2 kept=s""",
        queues="""a quota=4
                  b quota=4""",
        running="""a1 a 2 n2 names=r bursts
                   b1 b 2 n1 names=s bursts""",
        waiting="a2 a 2 names=r bursts",
        evicted="b1 reserved a2",
        waits="a2 WaitsForEvicted",
    ),
    Scenario(
        "a-gang-that-bursts-with-one-member-goes-whole", 12, LEP + "; rule 12",
        nodes="""n1 1 kept=r
                 n2 1 kept=s""",
        queues="""a quota=1
                  b quota=2""",
        running="g b 1 n2,n1 names=s bursts keep",
        waiting="a1 a 1 names=r",
        evicted="""g/0 reserved a1
                   g/1 reserved a1""",
        waits="a1 WaitsForEvicted",
    ),
    Scenario(
        "room-is-made-for-a-gang-on-the-nodes-of-its-reservation", 12, LEP + "; rule 12",
        nodes="""n1 1 kept=r
                 n2 1 kept=r
                 n3 1 kept=s""",
        queues="""a quota=2
                  b quota=2""",
        running="""b1 b 1 n1 names=s bursts
                   b2 b 1 n2
                   b3 b 1 n3 names=s keep""",
        waiting="a1 a 1 x2 names=r",
        evicted="""b1 reserved a1
                   b2 reserved a1""",
        waits="a1 WaitsForEvicted",
    ),
    Scenario(
        "a-gang-that-may-burst-takes-back-what-is-its-own-and-has-the-rest-elsewhere", 12, LEP + "; rule 12",
        nodes="""n1 1 kept=r
                 n2 1 kept=s""",
        queues="""a quota=2
                  b quota=2""",
        running="b1 b 1 n1",
        waiting="a1 a 1 x2 names=r bursts",
        evicted="b1 reserved a1",
        waits="a1 WaitsForEvicted",
    ),
    Scenario(
        "a-gang-that-may-not-burst-takes-nothing-back-that-is-not-enough", 12, "a whole solution or none",
        nodes="""n1 1 kept=r
                 n2 1 kept=s""",
        queues="""a quota=2
                  b quota=2""",
        running="b1 b 1 n1",
        waiting="a1 a 1 x2 names=r",
        waits="a1 Unschedulable",
    ),
    Scenario(
        "nobody-goes-elsewhere-in-the-name-of-a-reservation", 12, "a whole solution or none",
        nodes="""n1 1 kept=r
                 n2 1 kept=s""",
        queues="""a quota=2
                  b quota=2""",
        running="""b1 b 1 n1
                   b2 b 1 n2 names=s bursts""",
        waiting="a1 a 1 x2 names=r bursts humble",
        waits="a1 Unschedulable",
    ),
    Scenario(
        "what-can-burst-elsewhere-is-moved-instead", 13, "rule 8: consolidation comes first",
        nodes="""n1 2 kept=r
                 n2 2 kept=s""",
        queues="""a quota=2
                  b quota=2""",
        running="b1 b 2 n1 names=s bursts",
        waiting="a1 a 2 names=r",
        evicted="b1 consolidated a1",
        waits="a1 WaitsForEvicted",
    ),
)  # fmt: skip
