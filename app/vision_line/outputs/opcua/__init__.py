# SPDX-License-Identifier: AGPL-3.0-or-later
"""An OPC UA server as an output: clients connect to it, subscribe to events, read variables, ask for results."""
