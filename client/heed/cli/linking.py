"""`heed links`: what a message carries to be stopped by; `heed page-links`: what opens a page."""

from heed.cli.arguments import (
    Devices,
    Emails,
    Jurisdiction,
    Phones,
    ScopeChannel,
    Topic,
    Users,
    subjects_named,
)
from heed.cli.options import Session, connected
from heed.cli.output import print_json, time_of
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


@connected
def page_links(
    session: Session,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
    jurisdiction: Jurisdiction = "",
) -> None:
    """Make the link that opens the preference page of one person, by every identifier of theirs.

    Whoever has it can choose for them until it expires, so give it to nobody else.
    """
    subjects = subjects_named(emails, phones, users, devices)
    with session.connect() as client:
        made = client.make_page_link(subjects=subjects, jurisdiction=jurisdiction)
    if session.json:
        print_json(made)
        return
    print(made.url)
    print(f"  opens the page until {time_of(made.expire_time)}")
