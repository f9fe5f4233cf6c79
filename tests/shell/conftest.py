from support.provider_fixtures import *  # noqa: F403
