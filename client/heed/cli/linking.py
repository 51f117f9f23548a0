"""`heed links`: what a message carries, so that whoever gets it can stop the next."""

from heed.cli.arguments import Devices, Emails, Phones, ScopeChannel, Topic, Users, subjects_named
from heed.cli.options import Session, connected
from heed.cli.output import print_json
from heed.requests import LinkTarget


@connected
def links(
    session: Session,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
    channel: ScopeChannel = "any",
    topic: Topic = "",
) -> None:
    """Make links that stop messages, one for each subject, with the headers of a mail.

    Without channel and topic a link unsubscribes from all. Whoever has a link can press it.
    """
    subjects = subjects_named(emails, phones, users, devices)
    targets = [LinkTarget(subject=one, channel=channel, topic=topic) for one in subjects]
    with session.connect() as client:
        made = client.make_links(targets)
    if session.json:
        print_json([{"url": link.url, "headers": dict(link.headers)} for link in made])
        return
    for link in made:
        print(link.url)
        for name, value in link.headers.items():
            print(f"  {name}: {value}")
