"""Those who fetch or check a published folder, each as a whole process."""
