"""Logs in with PyPI's pocketbase, subscribes, and prints what it is told, each as a line of JSON.

A line on its standard input makes it trade its token; then it prints "refreshed".
"""

import json
import sys

from pocketbase import PocketBase

url, members, password = sys.argv[1:4]
client = PocketBase(url)


def printer(topic):
    def show(event):
        print(json.dumps([topic, event.action, event.record.id]), flush=True)

    return show


answer = client.collection(members).auth_with_password("anna@example.com", password)
print(json.dumps([members, "login", answer.record.id]), flush=True)
client.collection("posts").subscribe(printer("posts"))
client.collection("plans").subscribe(printer("plans"))
for _ in sys.stdin:
    answer = client.collection(members).auth_refresh()
    print(json.dumps([members, "refresh", answer.record.id]), flush=True)
