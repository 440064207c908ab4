"""Listens: peers, limits, time-outs, a life from claiming the path to leaving it. What is answered, agent/ decides."""
