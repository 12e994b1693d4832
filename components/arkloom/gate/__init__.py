"""Stage `gate`: whether the best arm is promoted."""
