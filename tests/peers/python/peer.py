"""Subscribes with PyPI's pocketbase and prints each event it is called with, as a line of JSON."""

import json
import sys

from pocketbase import PocketBase


def printer(topic):
    def show(event):
        change = [event.action, event.record.id, event.record.title]
        print(json.dumps([topic, change]), flush=True)

    return show


posts = PocketBase(sys.argv[1]).collection("posts")
posts.subscribe(printer("posts"))
posts.subscribe_one("a", printer("posts/a"))
# The one who started us holds the other end.
sys.stdin.read()
