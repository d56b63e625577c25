#!/usr/bin/env bash
# about: Python: asyncio: tasks, queues, a server with clients, executors, subprocesses
# needs: python3.11=python3.11
# proves: python3.11
# timeout: 120
. "$RP_DIR/case.sh"

python_modes python_asyncio.py "$(pick 400 4000)"
