"""What people and courses use, and how much of it they may: daily caps, a pace, and a course's budget of tokens.

All of it is counted in the database, so that it holds across workers and machines.
"""
