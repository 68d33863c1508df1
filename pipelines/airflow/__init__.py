"""The demo pipeline on Airflow."""
