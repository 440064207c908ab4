"""Knows Bitbucket: kinds of secrets, usernames, hosts and endpoints, OAuth, REST. Keeps nothing."""
