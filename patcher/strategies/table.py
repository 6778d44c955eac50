"""All strategies: the only list of them."""

from patcher.strategies.netpoll.strategy import Netpoll
from patcher.strategies.slack.strategy import Slack
from patcher.strategies.sleep.strategy import Sleep
from patcher.strategies.strategy import Strategy
from patcher.strategies.usleep.strategy import Usleep

SLACK = Slack()
STRATEGIES: dict[str, Strategy] = {each.name: each for each in (Netpoll(), Sleep(), Usleep(), SLACK)}
DEFAULT_STRATEGY = Netpoll.name
