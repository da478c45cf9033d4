//! GitHub in and out: releases, issues, sign-in.
