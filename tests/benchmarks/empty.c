/* What any static program takes: it starts, and ends well. */
int main(void)
{
    return 0;
}
