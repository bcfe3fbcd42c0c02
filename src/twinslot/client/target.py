"""Where commands go: to the fleet's own service, or with `--to aws` to an account of AWS.

Nothing else asks which of them it is.
"""

from twinslot.client.aws_account import AwsAccount
from twinslot.client.aws_issuer import AwsIssuer
from twinslot.client.clients import Clients
from twinslot.client.issuer import Issuer
from twinslot.client.own_issuer import OwnIssuer
from twinslot.client.own_service import OwnService
from twinslot.config import Config


def connect(config: Config) -> Clients:
    """The clients of where this fleet's jobs are. Raises as OwnService or AwsAccount does."""
    return OwnService(config) if config.account is None else AwsAccount(config.account)


def issuer(config: Config) -> Issuer:
    """The giver of certificates to this fleet's boards. Raises as AwsAccount does."""
    if config.account is None:
        return OwnIssuer(config)
    return AwsIssuer(AwsAccount(config.account), config.account.policy)
