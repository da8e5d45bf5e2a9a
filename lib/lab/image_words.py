"""Words for image names. They hold no digits or dashes: only the group of a name can match `-0001`."""

ADJECTIVES = tuple(
    """
    able acid agile airy amber ample arid azure basic bland blithe blue bold brave breezy brief bright brisk
    broad bronze calm candid clean clear clever cool coral cosy crisp curly daring dark deep deft dense dim
    dry dusty eager early easy even fair fast fine firm flat fleet fond free fresh full gentle giant glad
    golden grand grave green grey handy happy hardy hazy honest humble icy ideal jolly keen kind large late
    lean level light lively loud loyal lucid lunar mellow merry mild mint modest neat new nimble noble odd
    olive open pale plain polar proud quick quiet
    """.split()
)

NOUNS = tuple(
    """
    acorn alder anchor apple arch aspen badger bay beach bear beaver birch bison boat branch bridge brook
    canyon cedar cherry cliff cloud clover comet condor cove crane creek crow dale deer delta dove dune
    eagle elk elm ember falcon fern field finch fjord forest fox garden glade grove gull harbor hare hawk
    heron hill iris island ivy jay kite lake lark leaf lily linden lotus lynx maple marsh meadow moon moth
    oak orchid otter owl peak pear pine plum pond quail raven reed ridge river robin rose sage seal shore
    sparrow spruce star stone swan thistle tide trout valley willow wolf
    """.split()
)
